"""The process that measures Ray: runs one benchmark in a Ray session of its own and prints an outcome as ../measurement.ts describes.

The benchmarks, actors and tasks are those of ray_perf.py (`ray microbenchmark`, Ray 2.58), written out here because that module imports grpc, which
a plain `pip install ray` does not bring; the method is that of its `timeit`, without the ten seconds of sleep. Where Shoal has a benchmark that Ray's set does not have, its Python form is here too.

    PYTHON measure.py small|large NAME
"""

import json
import multiprocessing
import os
import statistics
import sys
import time

import numpy as np
import ray

SMALL = sys.argv[1] == "small"
WARM_UP_S, RUN_S, RUN_COUNT = (0, 0, 1) if SMALL else (1, 2, 4)
N_CPU = max(1, multiprocessing.cpu_count() // 2)


def size(large, small):
    return small if SMALL else large


def rate(fn, multiplier=1):
    start = time.perf_counter()
    count = 0
    while count == 0 or time.perf_counter() - start < WARM_UP_S:
        fn()
        count += 1
    step = count // 10 + 1
    runs = []
    for _ in range(RUN_COUNT):
        start = time.perf_counter()
        count = 0
        while count == 0 or time.perf_counter() - start < RUN_S:
            for _ in range(step):
                fn()
            count += step
        runs.append(multiplier * count / (time.perf_counter() - start))
    return {"value": statistics.median(runs), "runs": runs}


def durations(fn, count):
    """Milliseconds of each call, the first few left out."""
    warm_ups = 1 if SMALL else max(2, count // 10)
    times = []
    for i in range(warm_ups + count):
        start = time.perf_counter()
        fn()
        if i >= warm_ups:
            times.append((time.perf_counter() - start) * 1000)
    return times


@ray.remote
def small_value():
    return b"ok"


@ray.remote(num_cpus=0)
class Actor:
    def small_value(self):
        return b"ok"

    def small_value_arg(self, x):
        return b"ok"

    def small_value_batch(self, n):
        ray.get([small_value.remote() for _ in range(n)])


@ray.remote
class AsyncActor:
    async def small_value(self):
        return b"ok"

    async def small_value_with_arg(self, x):
        return b"ok"


@ray.remote(num_cpus=0)
class Client:
    def __init__(self, servers):
        self.servers = servers if isinstance(servers, list) else [servers]

    def small_value_batch(self, n):
        results = []
        for s in self.servers:
            results.extend([s.small_value.remote() for _ in range(n)])
        ray.get(results)

    def small_value_batch_arg(self, n):
        x = ray.put(0)
        results = []
        for s in self.servers:
            results.extend([s.small_value_arg.remote(x) for _ in range(n)])
        ray.get(results)


@ray.remote
def create_object_containing_ref(n):
    return [ray.put(1) for _ in range(n)]


@ray.remote
def noop():
    return None


@ray.remote
def do_put_small():
    for _ in range(100):
        ray.put(0)


@ray.remote
def do_put(length):
    for _ in range(10):
        ray.put(np.zeros(length, dtype=np.int64))


@ray.remote
def read_ends(data):
    return data[0] + data[-1]


@ray.remote
def timed_get(refs):
    start = time.perf_counter()
    data = ray.get(refs[0])
    return (time.perf_counter() - start) * 1000, data[-1]


@ray.remote
def work(actors, n):
    ray.get([actors[i % len(actors)].small_value.remote() for i in range(n)])


@ray.remote
def busy(ms):
    end = time.time() + ms / 1000
    while time.time() < end:
        pass
    return os.getpid()


def small_values(n):
    ray.get([small_value.remote() for _ in range(n)])


def get_small():
    value = ray.put(0)
    return rate(lambda: ray.get(value))


def put_small():
    return rate(lambda: ray.put(0))


def put_multi_small():
    return rate(lambda: ray.get([do_put_small.remote() for _ in range(10)]), 1000)


def put_large():
    arr = np.zeros(size(100, 1) * 1024 * 1024, dtype=np.int64)
    return rate(lambda: ray.put(arr), size(0.8, 0.008))


def put_multi():
    length = size(10 * 1024 * 1024, 128 * 1024)
    return rate(lambda: ray.get([do_put.remote(length) for _ in range(10)]), size(8, 0.08))


def tasks_and_get_batch():
    return rate(lambda: small_values(size(1000, 20)))


def get_containing_refs():
    obj = create_object_containing_ref.remote(size(10000, 100))
    return rate(lambda: ray.get(obj))


def wait_multiple_refs():
    n = size(1000, 20)

    def run():
        not_ready = [small_value.remote() for _ in range(n)]
        for i in range(n):
            _, not_ready = ray.wait(not_ready, fetch_local=i == 0)

    return rate(run)


def tasks_sync():
    return rate(lambda: ray.get(small_value.remote()))


def tasks_async():
    n = size(1000, 20)
    return rate(lambda: small_values(n), n)


def multi_task():
    n, m = size(10000, 20), size(4, 2)
    actors = [Actor.remote() for _ in range(m)]
    return rate(lambda: ray.get([a.small_value_batch.remote(n) for a in actors]), n * m)


def one_by_one(actor):
    return rate(lambda: ray.get(actor.small_value.remote()))


def batches(actor):
    n = size(1000, 20)
    return rate(lambda: ray.get([actor.small_value.remote() for _ in range(n)]), n)


def batches_with_args():
    actor = AsyncActor.remote()
    n = size(1000, 20)
    return rate(lambda: ray.get([actor.small_value_with_arg.remote(i) for i in range(n)]), n)


def one_to_many(cls):
    n = size(5000, 20)
    servers = [cls.remote() for _ in range(N_CPU)]
    client = Client.remote(servers)
    return rate(lambda: ray.get(client.small_value_batch.remote(n)), n * len(servers))


def many_to_many(cls):
    n, m = size(5000, 20), 4
    servers = [cls.remote() for _ in range(N_CPU)]
    return rate(lambda: ray.get([work.remote(servers, n) for _ in range(m)]), n * m)


def many_to_many_arg():
    n = size(1000, 20)
    clients = [Client.remote(Actor.remote()) for _ in range(N_CPU)]
    return rate(lambda: ray.get([c.small_value_batch_arg.remote(n) for c in clients]), n * len(clients))


def placement_groups():
    n = size(100, 10)

    def run():
        pgs = [ray.util.placement_group(bundles=[{"custom": 0.001}]) for _ in range(n)]
        for pg in pgs:
            pg.wait(timeout_seconds=30)
        for pg in pgs:
            ray.util.remove_placement_group(pg)

    return rate(run, n)


def noop_batch():
    n = size(1000, 20)
    return rate(lambda: ray.get([noop.remote() for _ in range(n)]), n)


def noop_latency():
    times = [ms * 1000 for ms in durations(lambda: ray.get(noop.remote()), size(2000, 5))]
    return {"value": statistics.median(times), "runs": [], "note": f"p99 {np.percentile(times, 99):.0f} us"}


def array_to_tasks():
    arr = np.full(size(10_000_000, 100_000), 0.5)

    def run():
        ref = ray.put(arr)
        ray.get([read_ends.remote(ref) for _ in range(8)])

    times = durations(run, size(10, 1))
    return {"value": statistics.median(times), "runs": times}


def put_steady():
    arr = np.arange(size(100_000_000, 1_000_000)) * 0.5
    runs = [arr.nbytes / 1e6 / ms for ms in durations(lambda: ray.put(arr), size(7, 1))]
    return {"value": statistics.median(runs), "runs": runs}


def get_elsewhere():
    ref = ray.put(np.arange(size(100_000_000, 1_000_000)) * 0.5)
    runs = [ray.get(timed_get.remote([ref]))[0] for _ in range(size(21, 2))]
    return {"value": statistics.median(runs[1:]), "runs": runs, "note": f"first {runs[0]:.2f} ms"}


def start_up():
    runs = []
    for _ in range(size(3, 1)):
        start = time.perf_counter()
        ray.init()
        ray.get(noop.remote())
        runs.append((time.perf_counter() - start) * 1000)
        ray.shutdown()
    return {"value": statistics.median(runs), "runs": runs}


def process_tree(root):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    parents[int(entry)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass  # it has ended

    def is_ours(pid):
        return pid == root or (pid in parents and is_ours(parents[pid]))

    return [pid for pid in parents if is_ours(pid)]


def kilobytes(pid, field):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return next((int(line.split()[1]) for line in f if line.startswith(field + ":")), 0)
    except OSError:
        return 0


def idle_memory():
    ray.init(num_cpus=2)
    ray.get([busy.remote(1000) for _ in range(2)])
    time.sleep(size(2, 0))
    pids = process_tree(os.getpid())
    megabytes = sum(kilobytes(pid, "Pss") for pid in pids) * 1024 / 1e6
    private = sum(kilobytes(pid, "Pss_Anon") for pid in pids) * 1024 / 1e6
    cluster = megabytes - kilobytes(os.getpid(), "Pss") * 1024 / 1e6
    note = f"{len(pids)} processes; {cluster:.0f} MB without the driver; private {private:.0f} MB"
    return {"value": megabytes, "runs": [], "note": note}


IN_SESSION = {
    "single client get calls (Plasma Store)": get_small,
    "single client put calls (Plasma Store)": put_small,
    "multi client put calls (Plasma Store)": put_multi_small,
    "single client put gigabytes": put_large,
    "single client tasks and get batch": tasks_and_get_batch,
    "multi client put gigabytes": put_multi,
    "single client get object containing 10k refs": get_containing_refs,
    "single client wait 1k refs": wait_multiple_refs,
    "single client tasks sync": tasks_sync,
    "single client tasks async": tasks_async,
    "multi client tasks async": multi_task,
    "1:1 actor calls sync": lambda: one_by_one(Actor.remote()),
    "1:1 actor calls async": lambda: batches(Actor.remote()),
    "1:1 actor calls concurrent": lambda: batches(Actor.options(max_concurrency=16).remote()),
    "1:n actor calls async": lambda: one_to_many(Actor),
    "n:n actor calls async": lambda: many_to_many(Actor),
    "n:n actor calls with arg async": many_to_many_arg,
    "1:1 async-actor calls sync": lambda: one_by_one(AsyncActor.remote()),
    "1:1 async-actor calls async": lambda: batches(AsyncActor.remote()),
    "1:1 async-actor calls with args async": batches_with_args,
    "1:n async-actor calls async": lambda: one_to_many(AsyncActor),
    "n:n async-actor calls async": lambda: many_to_many(AsyncActor),
    "placement group create/removal": placement_groups,
    "no-op tasks in batches": noop_batch,
    "no-op task alone, p50": noop_latency,
    "80 MB argument to 8 tasks": array_to_tasks,
    "put 800 MB, steady state": put_steady,
    "get 800 MB in another process": get_elsewhere,
}
ALONE = {"init() to first result": start_up, "idle cluster with 2 workers": idle_memory}


def measure(name):
    if name in ALONE:
        return ALONE[name]()
    ray.init(resources={"custom": 100} if name.startswith("placement") else None)
    return IN_SESSION[name]()


def main():
    name = sys.argv[2]
    try:
        outcome = {"name": name, "measurement": measure(name)}
    except Exception as error:  # whatever Ray says is the outcome
        outcome = {"name": name, "failure": f"{type(error).__name__}: {error}".splitlines()[0]}
    ray.shutdown()
    print("\n@bench " + json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
