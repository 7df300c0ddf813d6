/* The floor of the intake: HTTP answered 200 after an fsync, by a C program that does nothing else.
 *
 *   answerer FILE
 *
 * Listens on a free port of 127.0.0.1 and prints it. One thread, epoll. Whatever is readable makes
 * one group: its bodies are appended to FILE, one fdatasync makes all of them durable, then each is
 * answered on its kept-alive connection. That is the intake's own pattern (reports that come while
 * the disk is busy share the next fsync), without signature, JSON, index, database or broker.
 * Ends with SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, REQUEST_MAX = 16 * 1024, GROUP_MAX = 256 };

struct connection {
    size_t filled;
    char request[REQUEST_MAX + 1];
};

static struct connection *connections[CONNECTIONS_MAX];
static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nstored";

static void die(const char *what) {
    fprintf(stderr, "answerer: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The bytes of one whole request at the front of the buffer, 0 when it is not whole yet. */
static size_t whole_request(struct connection *one, size_t *head) {
    one->request[one->filled] = 0;
    char *end = strstr(one->request, "\r\n\r\n");
    char *length = strcasestr(one->request, "\r\ncontent-length:");
    if (end == NULL || length == NULL)
        return 0;
    *head = (size_t)(end - one->request) + 4;
    size_t size = *head + strtoul(length + 17, NULL, 10);
    return size <= one->filled ? size : 0;
}

/* Reads what is there and stores the body of a whole request; 1 when there was one, -1 at the end. */
static int take(int socket, int file) {
    struct connection *one = connections[socket];
    ssize_t got = read(socket, one->request + one->filled, REQUEST_MAX - one->filled);
    if (got <= 0)
        return -1;
    one->filled += (size_t)got;
    size_t head;
    size_t size = whole_request(one, &head);
    if (size == 0)
        return one->filled == REQUEST_MAX ? -1 : 0;
    if (write(file, one->request + head, size - head) != (ssize_t)(size - head))
        die("write");
    memmove(one->request, one->request + size, one->filled - size);
    one->filled -= size;
    return 1;
}

static void welcome(int listener, int events) {
    int socket = accept(listener, NULL, NULL);
    if (socket < 0 || socket >= CONNECTIONS_MAX)
        die("accept");
    int yes = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    free(connections[socket]);
    connections[socket] = calloc(1, sizeof **connections);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket};
    if (connections[socket] == NULL || epoll_ctl(events, EPOLL_CTL_ADD, socket, &event) < 0)
        die("epoll_ctl");
}

static int listen_on_loopback(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 512) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **words) {
    if (count != 2) {
        fprintf(stderr, "usage: answerer FILE\n");
        return 2;
    }
    int file = open(words[1], O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (file < 0)
        die(words[1]);
    int events = epoll_create1(0);
    int listener = listen_on_loopback();
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll_ctl(events, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll_ctl");
    struct epoll_event ready[GROUP_MAX];
    int group[GROUP_MAX];
    for (;;) {
        int arrived = epoll_wait(events, ready, GROUP_MAX, -1);
        int stored = 0;
        for (int i = 0; i < arrived; i++) {
            int socket = ready[i].data.fd;
            if (socket == listener) {
                welcome(listener, events);
                continue;
            }
            int taken = take(socket, file);
            if (taken < 0)
                close(socket);
            else if (taken > 0)
                group[stored++] = socket;
        }
        if (stored > 0 && fdatasync(file) < 0)
            die("fdatasync");
        for (int i = 0; i < stored; i++)
            if (write(group[i], ANSWER, sizeof ANSWER - 1) != sizeof ANSWER - 1)
                close(group[i]);
    }
}
