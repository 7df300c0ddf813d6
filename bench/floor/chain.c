/* The floor of the benches: the hops of one payment on the wire, and nothing but the hops.
 *   payment 264 B   intake -> engine        filed   155 B   engine -> agent
 *   command 169 B   engine -> agent         receipt 150 B   engine -> intake
 *   acknowledgement 241 B   agent -> engine
 *
 * Three processes of libmosquitto clients (intake; engine; all agents) on the broker's own TLS
 * listener with client certificates: MQTT 5, QoS 1, no delay on. No signatures, no database, no
 * journals. What a product takes beyond this is its own work.
 *
 *   --rate R    one payment every 1/R s: the latency of a chain on an idle system
 *   --window W  W chains under way at any time: the throughput
 *
 * A latency runs from publishing the payment to the engine having its acknowledgement; a chain
 * counts in the rate when its filed and receipt have arrived too. Prints one JSON object.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAYMENT = 264, COMMAND = 169, ACKNOWLEDGEMENT = 241, FILED = 155, RECEIPT = 150 };
enum {
    MAXIMUM_AGENTS = 2000,     /* connections of the agents' process; more need a higher nofile */
    MAXIMUM_CHAINS = 10000000, /* 8 bytes each for its latency */
    MAXIMUM_WINDOW = 10000,
    IN_FLIGHT = 10000,         /* the window is kept by the intake, not by MQTT */
    STALL_S = 15,              /* a lost message never comes: clean sessions, no re-send */
    KEEPALIVE_S = 60,
};
#define SECOND_NS 1000000000LL
#define TICK_NS 100000000LL /* how often a waiting process looks whether the run is over */

struct stamp { int64_t published_ns; int32_t chain; int32_t agent; }; /* opens every payload */
typedef void handler(struct mosquitto *session, const char *topic, struct stamp stamp);
struct client { struct mosquitto *session; const char *name; char topics[2][128]; };
struct ledger { /* shared by the three processes */
    atomic_int ready, acknowledged, filed, receipted;
    atomic_bool is_over;
    int64_t latency_ns[];
};

static const char *host = "localhost", *certificates, *intake_name, *engine_name;
static int port = 8883, chains, window, agent_count, wakeup;
static double rate;
static char *agent_names[MAXIMUM_AGENTS];
static struct client clients[MAXIMUM_AGENTS];
static handler *handle; /* of this process */
static struct ledger *ledger;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    char message[1024]; /* one write, or the words of three processes mix */
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    fprintf(stderr, "chain: %s\n", message);
    exit(1);
}

static void check(int verdict, const char *what) {
    if (verdict) fail("%s: %s", what, mosquitto_strerror(verdict));
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* one clock for all processes of the machine */
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void publish(struct mosquitto *session, const char *format, const char *name,
                    struct stamp stamp, int size) {
    char topic[128], payload[PAYMENT] = {0};
    snprintf(topic, sizeof topic, format, name);
    memcpy(payload, &stamp, sizeof stamp);
    check(mosquitto_publish(session, NULL, topic, size, payload, 1, false), topic);
}

static void on_intake_message(struct mosquitto *session, const char *topic, struct stamp stamp) {
    (void)session, (void)topic, (void)stamp;
    ledger->receipted++;
}

static void on_engine_message(struct mosquitto *session, const char *topic, struct stamp stamp) {
    const char *agent = agent_names[stamp.agent];
    if (topic[0] == 'p') {
        publish(session, "command/%s/M1", agent, stamp, COMMAND);
        publish(session, "receipt/%s", intake_name, stamp, RECEIPT);
        return;
    }
    ledger->latency_ns[stamp.chain] = now_ns() - stamp.published_ns;
    ledger->acknowledged++;
    publish(session, "filed/%s", agent, stamp, FILED);
    eventfd_write(wakeup, 1);
}

static void on_agent_message(struct mosquitto *session, const char *topic, struct stamp stamp) {
    if (topic[0] == 'c')
        publish(session, "acknowledgement/00/%s", agent_names[stamp.agent], stamp,
                ACKNOWLEDGEMENT);
    else if (++ledger->filed == chains)
        eventfd_write(wakeup, 1);
}

static void on_message(struct mosquitto *session, void *owner,
                       const struct mosquitto_message *message) {
    struct stamp stamp = {.chain = -1};
    (void)owner;
    if (message->payloadlen >= (int)sizeof stamp) memcpy(&stamp, message->payload, sizeof stamp);
    if (stamp.chain < 0 || stamp.chain >= chains || stamp.agent != stamp.chain % agent_count)
        fail("a message on %s is none of this run: does another program use the floor's names?",
             message->topic);
    handle(session, message->topic, stamp);
}

static void on_publish(struct mosquitto *session, void *owner, int id, int reason,
                       const mosquitto_property *properties) {
    (void)session, (void)id, (void)properties;
    if (reason >= 0x80) /* in MQTT 5 a denied publish is told here and nowhere else */
        fail("%s may not publish: %s", ((struct client *)owner)->name,
             mosquitto_reason_string(reason));
}

static void on_connect(struct mosquitto *session, void *owner, int reason) {
    struct client *client = owner;
    if (reason) fail("%s is not let in: %s", client->name, mosquitto_reason_string(reason));
    char *topics[] = {client->topics[0], client->topics[1]};
    int count = topics[1][0] ? 2 : 1;
    check(mosquitto_subscribe_multiple(session, NULL, count, topics, 1, 0, NULL), topics[0]);
}

static void on_subscribe(struct mosquitto *session, void *owner, int id, int count,
                         const int *granted) {
    (void)session, (void)id;
    for (int i = 0; i < count; i++)
        if (granted[i] > 1) fail("%s may not subscribe", ((struct client *)owner)->name);
    ledger->ready++;
}

static void connect_client(struct client *client, const char *name, const char *first,
                           const char *second) {
    char authority[512], certificate[512], key[512];
    snprintf(authority, sizeof authority, "%s/ca.crt", certificates);
    snprintf(certificate, sizeof certificate, "%s/%s.crt", certificates, name);
    snprintf(key, sizeof key, "%s/%s.key", certificates, name);
    snprintf(client->topics[0], sizeof client->topics[0], first, name);
    snprintf(client->topics[1], sizeof client->topics[1], second, name);
    client->name = name;
    struct mosquitto *session = client->session = mosquitto_new(name, true, client);
    if (!session) fail("no client %s: %s", name, strerror(errno));
    mosquitto_int_option(session, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(session, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_int_option(session, MOSQ_OPT_SEND_MAXIMUM, IN_FLIGHT);
    mosquitto_int_option(session, MOSQ_OPT_RECEIVE_MAXIMUM, IN_FLIGHT);
    mosquitto_connect_callback_set(session, on_connect);
    mosquitto_subscribe_callback_set(session, on_subscribe);
    mosquitto_publish_v5_callback_set(session, on_publish);
    mosquitto_message_callback_set(session, on_message);
    check(mosquitto_tls_set(session, authority, NULL, certificate, key, NULL), certificate);
    check(mosquitto_connect(session, host, port, KEEPALIVE_S), host);
}

/* One turn of a process's clients; `polled` has room for one more, the intake's wake-up. */
static void turn(struct pollfd *polled, int count, int64_t until_ns) {
    for (int i = 0; i < count; i++) {
        int wants = POLLIN | (mosquitto_want_write(clients[i].session) ? POLLOUT : 0);
        polled[i] = (struct pollfd){.fd = mosquitto_socket(clients[i].session), .events = wants};
    }
    int64_t wait_ns = until_ns - now_ns();
    if (wait_ns < 0) wait_ns = 0;
    struct timespec wait = {wait_ns / SECOND_NS, wait_ns % SECOND_NS};
    bool is_intake = handle == on_intake_message;
    polled[count] = (struct pollfd){.fd = wakeup, .events = POLLIN};
    if (ppoll(polled, count + is_intake, &wait, NULL) < 0) fail("poll: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct mosquitto *session = clients[i].session;
        if (polled[i].revents & ~POLLOUT) check(mosquitto_loop_read(session, 100), clients[i].name);
        /* What a callback published waits in the client until somebody writes it. */
        if (mosquitto_want_write(session)) check(mosquitto_loop_write(session, 1), clients[i].name);
        check(mosquitto_loop_misc(session), clients[i].name);
    }
    eventfd_t wakeups;
    if (is_intake && polled[count].revents) eventfd_read(wakeup, &wakeups);
}

/* Run a process that only answers, until the intake says that the run is over. */
static void answer(int count) {
    struct pollfd *polled = calloc(count + 1, sizeof *polled);
    while (!ledger->is_over) turn(polled, count, now_ns() + TICK_NS);
    for (int i = 0; i < count; i++) mosquitto_disconnect(clients[i].session);
    exit(0);
}

static void start(handler *role) {
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) fail("fork: %s", strerror(errno));
    if (child) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    handle = role;
    if (role == on_engine_message) {
        connect_client(clients, engine_name, "payment/00/RZP", "acknowledgement/00/+");
        answer(1);
    }
    for (int i = 0; i < agent_count; i++)
        connect_client(clients + i, agent_names[i], "command/%s/M1", "filed/%s");
    answer(agent_count);
}

static bool is_due(int sent, int64_t begun_ns) {
    if (sent == chains) return false;
    if (window) return sent - ledger->acknowledged < window;
    return now_ns() >= begun_ns + (int64_t)(sent * (SECOND_NS / rate));
}

/* Send every payment and see every chain through; returns how long that took. */
static int64_t drive(void) {
    struct pollfd polled[2];
    int64_t moved_ns = now_ns(), begun_ns = 0;
    for (int sent = 0, seen = -1; ledger->receipted < chains || ledger->filed < chains;) {
        bool is_ready = ledger->ready == agent_count + 2;
        if (is_ready && !begun_ns) begun_ns = now_ns();
        while (is_ready && is_due(sent, begun_ns)) {
            struct stamp stamp = {now_ns(), sent, sent % agent_count};
            publish(clients->session, "payment/00/%s", "RZP", stamp, PAYMENT);
            sent++;
        }
        int64_t now = now_ns(), until_ns = now + TICK_NS;
        if (begun_ns && rate > 0 && sent < chains) /* else the tick decides */
            until_ns = begun_ns + (int64_t)(sent * (SECOND_NS / rate));
        turn(polled, 1, until_ns);
        int moved = ledger->ready + ledger->receipted + ledger->acknowledged + ledger->filed;
        if (moved != seen) seen = moved, moved_ns = now;
        if (waitpid(-1, NULL, WNOHANG) > 0) fail("the engine or the agents gave up, see above");
        if (now - moved_ns > STALL_S * SECOND_NS)
            fail("nothing moved for %d s: %d of %d clients ready; sent %d, acknowledged %d, filed "
                 "%d, receipted %d of %d", STALL_S, ledger->ready, agent_count + 2, sent,
                 ledger->acknowledged, ledger->filed, ledger->receipted, chains);
    }
    return now_ns() - begun_ns;
}

static int by_size(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void report(int64_t took_ns) {
    qsort(ledger->latency_ns, chains, sizeof(int64_t), by_size);
    /* Nearest rank: the smallest latency that so many per cent of the chains do not exceed. */
    int64_t p50 = ledger->latency_ns[(chains * 50LL + 99) / 100 - 1];
    int64_t p99 = ledger->latency_ns[(chains * 99LL + 99) / 100 - 1];
    printf("{\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"rate_per_s\": %.1f}\n", p50 / 1e6, p99 / 1e6,
           chains * 1e9 / took_ns);
}

static void read_arguments(int count, char **values) {
    static const struct option options[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"certificates", 1, 0, 'c'},
        {"intake", 1, 0, 'i'}, {"engine", 1, 0, 'e'}, {"agents", 1, 0, 'a'},
        {"rate", 1, 0, 'r'}, {"window", 1, 0, 'w'}, {"count", 1, 0, 'n'}, {0}};
    char *agents = NULL;
    for (int option; (option = getopt_long(count, values, "", options, NULL)) != -1;)
        switch (option) {
        case 'h': host = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'c': certificates = optarg; break;
        case 'i': intake_name = optarg; break;
        case 'e': engine_name = optarg; break;
        case 'a': agents = optarg; break;
        case 'r': rate = atof(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'n': chains = atoi(optarg); break;
        default: exit(2);
        }
    if (!certificates || !intake_name || !engine_name || !agents)
        fail("give --certificates FOLDER --intake NAME --engine NAME --agents NAME,NAME,...");
    for (char *name = strtok(agents, ","); name; name = strtok(NULL, ",")) {
        if (agent_count == MAXIMUM_AGENTS) fail("more than %d agents", MAXIMUM_AGENTS);
        agent_names[agent_count++] = name;
    }
    if (!agent_count || chains < 1 || chains > MAXIMUM_CHAINS)
        fail("--agents: at least one; --count: 1 to %d", MAXIMUM_CHAINS);
    if (window < 0 || window > MAXIMUM_WINDOW) fail("--window: 1 to %d", MAXIMUM_WINDOW);
    if ((rate > 0) == (window > 0)) fail("give either --rate R or --window W");
    if (rate && rate < 1) fail("--rate: at least 1 a second, or a pause looks like a stall");
}

int main(int count, char **values) {
    read_arguments(count, values);
    size_t size = sizeof *ledger + chains * sizeof(int64_t);
    ledger = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ledger == MAP_FAILED) fail("%zu B of shared memory: %s", size, strerror(errno));
    wakeup = eventfd(0, 0);
    mosquitto_lib_init();
    start(on_engine_message);
    start(on_agent_message);
    handle = on_intake_message;
    connect_client(clients, intake_name, "receipt/%s", "");
    int64_t took_ns = drive();
    ledger->is_over = true;
    mosquitto_disconnect(clients->session);
    while (wait(NULL) > 0) continue;
    report(took_ns);
    return 0;
}
