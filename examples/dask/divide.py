#!/usr/bin/env python3
"""Divides one source on a Dask cluster: every task divides one part, then the manifests are
joined. No shard is touched by the joining.

    examples/dask/divide.py --scheduler tcp://host:8786 --parts 16 SOURCE --to TO
        [options of dnc divide]

SOURCE and TO must be the same places for every worker: a shared file system, or URLs. A task
whose worker is lost is run again by another and goes on behind the finished shards.
"""

import argparse
import subprocess
import sys

from distributed import Client, as_completed


def divide_part(dnc, source, to, part, parts, options):
    """Runs on a worker."""
    import subprocess
    done = subprocess.run([dnc, "divide", source, "--to", to, "--part", f"{part}/{parts}",
                           "--threads", "1", "--json", *options],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"part {part}/{parts}: {done.stderr.strip()}")
    return part


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--to", required=True)
    parser.add_argument("--parts", type=int, required=True)
    parser.add_argument("--scheduler", help="address, or a file of one; by default a cluster "
                        "on this machine")
    parser.add_argument("--dnc", default="dnc", help="the program, on the workers and here")
    arguments, options = parser.parse_known_args()

    place = arguments.scheduler
    client = Client(scheduler_file=place) if place and place.endswith(".json") else Client(place)
    with client:
        tasks = [client.submit(divide_part, arguments.dnc, arguments.source, arguments.to, part,
                               arguments.parts, options, pure=False)
                 for part in range(1, arguments.parts + 1)]
        for done, task in enumerate(as_completed(tasks), 1):
            print(f"part {task.result()} is divided; {done} of {arguments.parts}", flush=True)
    manifests = [f"{arguments.to}/manifest-{part}-of-{arguments.parts}.json"
                 for part in range(1, arguments.parts + 1)]
    return subprocess.run([arguments.dnc, "merge", *manifests, "--to", arguments.to]).returncode


if __name__ == "__main__":
    sys.exit(main())
