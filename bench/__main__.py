"""`./run bench NAME`: run one bench; one JSON object on the last line."""

import json
import sys

from bench import intake, latency, restart, throughput

BENCHES = {
    "intake": intake.run,
    "latency": latency.run,
    "restart": restart.run,
    "throughput": throughput.run,
}


def main() -> None:
    """Run the bench that is named.

    Raises:
        SystemExit: an unknown name, with the names there are.
    """
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in BENCHES:
        raise SystemExit(f"usage: ./run bench NAME, where NAME is one of {', '.join(BENCHES)}")
    print(json.dumps(BENCHES[name]()))


if __name__ == "__main__":
    main()
