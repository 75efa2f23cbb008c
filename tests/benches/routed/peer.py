"""Steady traffic on redis-py's MultiDBClient: peer.py default|tuned RATE WRITE_EVERY URL URL

Says "ready" once it calls. At "stop" on standard input it prints one JSON object for each call and ends.
"""

import json
import logging
import os
import sys
import threading
import time

from redis.backoff import ExponentialWithJitterBackoff
from redis.multidb.client import MultiDBClient
from redis.multidb.config import DatabaseConfig, MultiDbConfig
from redis.retry import Retry

profile, rate, write_every, urls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
# One call at a time would wait behind each slow one; more threads than this only wait for the interpreter's lock.
THREADS = 1 if rate <= 100 else 16


def configuration():
    """The defaults, or as hasty as its options allow without taking one failure for an outage."""
    if profile == "default":
        return MultiDbConfig(databases_config=[DatabaseConfig(weight=w, from_url=u) for w, u in zip((2.0, 1.0), urls)])
    hasty = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25}
    return MultiDbConfig(
        databases_config=[
            DatabaseConfig(weight=w, from_url=u, client_kwargs=dict(hasty)) for w, u in zip((2.0, 1.0), urls)
        ],
        command_retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.05), 10),
        min_num_failures=2,
        failure_rate_threshold=0.0,
        health_check_interval=0.5,
        health_check_probes=1,
        health_check_delay=0.0,
        health_check_timeout=0.25,
    )


logging.disable()
client = MultiDBClient(configuration())
client.ping()
done = []
under_way = {}


def call(number):
    write = f"w:{profile}:{number}" if number % write_every == 0 else None
    at = time.time()
    under_way[number] = (at, write)
    began, error = time.monotonic(), None
    try:
        if write:
            client.incr(write)
        elif client.get("name") != b"Ada":
            error = "wrong answer"
    except Exception as failure:  # whatever it is, the caller sees it
        error = type(failure).__name__
    done.append((at, time.monotonic() - began, write, error))
    del under_way[number]


def work(thread):
    began, number = time.monotonic(), thread
    while True:
        due = began + number / rate
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        elif wait < -1.0:
            began -= wait  # what was missed is not made up for
        call(number)
        number += THREADS


for thread in range(THREADS):
    threading.Thread(target=work, args=(thread,), daemon=True).start()
print("ready", flush=True)
sys.stdin.readline()
now = time.time()
lines = [{"at": at, "took": took, "write": write, "error": error} for at, took, write, error in list(done)]
lines += [{"at": at, "took": now - at, "write": write, "error": "unfinished"} for at, write in list(under_way.values())]
sys.stdout.write("".join(json.dumps(line) + "\n" for line in lines))
sys.stdout.flush()
os._exit(0)
