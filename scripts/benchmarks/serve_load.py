"""`catdog serve` under load, beside `Predictor` and what people write by hand, in one run.

Run by itself: python scripts/benchmarks/serve_load.py CKPT PICTURES prints a Markdown table. Each round
measures the rate of `Predictor` on the pictures' bytes, the service with 64 clients at a time, and both with
a picture at a time; then each peer. All answers are compared with `Predictor`'s, to the bit. --endurance N
sends N requests of small pictures to a tiny network, and reports memory, lost and wrong answers.
"""

import argparse
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from serving import Load, Server, ask_all, free_port, make_request, run_server, serve_command

MARKS = (1_000, 10_000, 25_000, 50_000, 75_000, 100_000)
PEERS = {"fastapi": "serve_peers.py", "litserve": "serve_litserve.py"}
ROUND = 1_000  # requests of --endurance between two looks at the memory


class PredictorProcess:
    """A `Predictor` in a process of its own, which answers as the service should, and tells its times."""

    def __init__(self, checkpoint: str, paths: list[Path]) -> None:
        command = [sys.executable, __file__, "--child", checkpoint, *map(str, paths)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rows = self._read()

    def ask(self, what: str) -> Any:
        """Return rate (1/s) and processor time (s) of all pictures ("all"), or the time of one ("one", s)."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def run_child(checkpoint: str, paths: list[str]) -> None:
    """Be the process of a `PredictorProcess`."""
    from catdog_cli.inference.batch import iterate_predictions
    from catdog_cli.inference.predictor import Predictor
    from catdog_cli.inference.streams import ImageBytes

    predictor = Predictor.load(checkpoint)
    images = [ImageBytes("-", Path(path).read_bytes()) for path in paths]

    def send(document: Any) -> None:
        print(json.dumps(document), flush=True)

    send([each.to_dict() for each in iterate_predictions(predictor, images, 5)])
    for line in sys.stdin:
        if line.strip() == "all":
            start, before = time.perf_counter(), time.process_time()
            count = sum(1 for _ in iterate_predictions(predictor, images, 5))
            send([count / (time.perf_counter() - start), (time.process_time() - before) / count])
        else:
            seconds = []
            for image in images[:100]:
                start = time.perf_counter()
                next(iterate_predictions(predictor, [image], 5))
                seconds.append(time.perf_counter() - start)
            send(statistics.median(seconds))


def check_answers(load: Load, expected: list[dict]) -> dict[str, int]:
    """Count the answers that are right, that are not, and that never came."""
    lost = sum(answer is None for answer in load.answers)
    right = sum(
        answer is not None and answer[0] == 200 and json.loads(answer[1]) == [expected[place % len(expected)]]
        for place, answer in enumerate(load.answers)
    )
    return {"right": right, "wrong": len(load.answers) - right - lost, "lost": lost}


def count_metric(server: Server, name: str) -> float:
    """Return the sum of a counter of GET /metrics."""
    request = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    answer = ask_all(server.port, [request], 1, 1).answers[0]
    lines = answer[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}_total{{"))


def measure_catdog(options: argparse.Namespace, paths: list[Path]) -> list[str]:
    """Return the lines about the service and `Predictor`."""
    predictor, port = PredictorProcess(options.checkpoint, paths), free_port()
    command = serve_command(options.checkpoint, "--port", port, "--log-format", "none")
    rates, costs, loads, served_costs, ones, idles, right = [], [], [], [], [], [], 0
    with run_server(command, port) as server:
        requests = [make_request(path.read_bytes(), port) for path in paths]
        ask_all(port, requests, options.clients, options.clients)  # what is made once
        predictor.ask("all")
        for _ in range(options.rounds):
            rate, cost = predictor.ask("all")
            rates.append(rate)
            costs.append(1e3 * cost)
            before = server.processor_s()
            loads.append(ask_all(port, requests, len(requests), options.clients))
            served_costs.append(1e3 * (server.processor_s() - before) / len(requests))
            ones.append(predictor.ask("one"))
            idles.append(ask_all(port, requests, 100, 1).percentile(0.5))
            found = check_answers(loads[-1], predictor.rows)
            assert found["right"] == len(requests), found
            right += found["right"]
        memory = server.memory_mb()
    predictor.close()
    rate, served = statistics.median(rates), statistics.median(load.rate for load in loads)
    halves, tails = ([1e3 * load.percentile(share) for load in loads] for share in (0.5, 0.99))
    half, tail = statistics.median(halves), statistics.median(tails)
    one, idle = 1e3 * statistics.median(ones), 1e3 * statistics.median(idles)
    cost, served_cost = statistics.median(costs), statistics.median(served_costs)
    return [
        "| | pictures/s | processor ms a picture | p50 | p99 | one at a time, p50 | memory |",
        "|" + " --- |" * 7,
        f"| `Predictor`, all at once | {rate:.1f} | {cost:.1f} | | | {one:.1f} ms | |",
        f"| `catdog serve`, {options.clients} clients | {served:.1f} ({served / rate:.2f} of it) "
        f"| {served_cost:.1f} ({served_cost / cost:.2f} times) "
        f"| {half:.0f} ms | {tail:.0f} ms ({tail / half:.2f} times p50) "
        f"| {idle:.1f} ms ({idle / one:.2f} times) "
        f"| {memory:.0f} MB |",
        f"<!-- {right} answers under load, all equal to Predictor's to the bit; rates a round: "
        f"{', '.join(f'{load.rate:.1f} of {rate:.1f}' for load, rate in zip(loads, rates, strict=True))} -->",
    ]


def measure_peer(options: argparse.Namespace, paths: list[Path], name: str) -> str:
    """Return the line about a peer."""
    port = free_port()
    command = [options.peer_python, str(Path(__file__).with_name(PEERS[name])), options.checkpoint, str(port)]
    loads = []
    with run_server(command, port) as server:
        contents = [path.read_bytes() for path in paths]
        if name == "litserve":
            bodies = [json.dumps({"picture": base64.b64encode(each).decode()}).encode() for each in contents]
            requests = [make_request(body, port, "application/json") for body in bodies]
        else:
            requests = [make_request(content, port) for content in contents]
        ask_all(port, requests, options.clients, options.clients)
        before = server.processor_s()
        for _ in range(options.rounds):
            loads.append(ask_all(port, requests, len(requests), options.clients))
        cost = 1e3 * (server.processor_s() - before) / (options.rounds * len(requests))
        idles = [ask_all(port, requests, 50, 1).percentile(0.5) for _ in range(options.rounds)]
        memory = server.memory_mb()
    failed = sum(answer is None or answer[0] != 200 for load in loads for answer in load.answers)
    half, tail = (1e3 * statistics.median(load.percentile(share) for load in loads) for share in (0.5, 0.99))
    note = f"; {failed} failed" if failed else ""
    rate = statistics.median(load.rate for load in loads)
    return (
        f"| {name} by hand, {options.clients} clients | {rate:.1f} | {cost:.1f} | {half:.0f} ms "
        f"| {tail:.0f} ms ({tail / half:.2f} times p50){note} "
        f"| {1e3 * statistics.median(idles):.1f} ms | {memory:.0f} MB |"
    )


def measure_endurance(options: argparse.Namespace, work: Path) -> list[str]:
    """Return the lines about very many requests of small pictures to a tiny network."""
    checkpoint, paths = make_tiny(work)
    predictor, port = PredictorProcess(str(checkpoint), paths), free_port()
    head = ("requests", "right", "wrong", "lost", "counted by the service", "requests/s", "memory")
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    totals = {"right": 0, "wrong": 0, "lost": 0}
    command = serve_command(checkpoint, "--port", port, "--log-format", "json")
    with run_server(command, port) as server:
        requests = [make_request(path.read_bytes(), port, "image/png") for path in paths]
        start, done = time.perf_counter(), 0
        while done < options.endurance:
            count = min(ROUND, options.endurance - done)
            found = check_answers(ask_all(port, requests, count, options.clients), predictor.rows)
            totals = {name: totals[name] + found[name] for name in totals}
            done += count
            if done in MARKS or done == options.endurance:
                counted = count_metric(server, "catdog_pictures")
                rate = done / (time.perf_counter() - start)
                lines.append(
                    f"| {done:,} | {totals['right']:,} | {totals['wrong']} | {totals['lost']} "
                    f"| {counted:,.0f} | {rate:.0f} | {server.memory_mb():.0f} MB |"
                )
    predictor.close()
    return lines


def make_tiny(work: Path) -> tuple[Path, list[Path]]:
    """Return a checkpoint of a tiny network, and small pictures, no two alike."""
    import numpy as np
    from PIL import Image

    from catdog_cli.models.classifier import build_classifier
    from catdog_cli.runs.checkpoint import describe_model, save_checkpoint
    from catdog_cli.settings import HeadSpec, InputSpec

    head, names = HeadSpec((8,), 0.0), ["cats", "dogs", "emus"]
    classifier = build_classifier("simple_cnn", len(names), head, 0)
    save_checkpoint(describe_model(classifier, head, names, InputSpec(size=32, resize=32)), work / "tiny.pt")
    numbers = np.random.default_rng(0)
    paths = [work / f"{number}.png" for number in range(250)]
    for path in paths:
        Image.fromarray(numbers.integers(0, 256, (36, 40, 3)).astype(np.uint8)).save(path)
    return work / "tiny.pt", paths


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CKPT")
    parser.add_argument("pictures", metavar="PICTURES", type=Path, help="a folder of .jpg files")
    parser.add_argument("--clients", type=int, default=64, metavar="N", help="at a time; 64")
    parser.add_argument("--count", type=int, default=400, metavar="N", help="pictures; 400")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="3")
    parser.add_argument("--peer", action="append", default=[], choices=PEERS)
    parser.add_argument(
        "--peer-python", default=sys.executable, metavar="FILE", help="a Python that has them"
    )
    parser.add_argument("--endurance", type=int, default=0, metavar="N", help="requests; 0")
    options = parser.parse_args()
    paths = sorted(options.pictures.rglob("*.jpg"))[: options.count]
    if not paths:
        parser.error(f"{str(options.pictures)!r} holds no .jpg file: give a folder of photographs.")
    if options.rounds:
        *table, note = measure_catdog(options, paths)
        print("\n".join(table), flush=True)
        for name in options.peer:
            print(measure_peer(options, paths, name), flush=True)
        print(note, flush=True)
    if options.endurance:
        with tempfile.TemporaryDirectory() as folder:
            print("\n" + "\n".join(measure_endurance(options, Path(folder))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2], sys.argv[3:])
    else:
        main()
