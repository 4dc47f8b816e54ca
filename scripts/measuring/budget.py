"""The budget table: workloads, the peers of each, and what Fanal has to reach.

A row is measured A B A B: Fanal, then one of its others, for each other and pair anew, so that
every figure of a peer has a run of Fanal as its neighbour. A figure is a number of a run; its
limit is for Fanal's own median, or, with an `x` behind it, for the median of the ratios of
neighbours, Fanal's over the other's.
"""
import re
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Tuple


@dataclass
class Other:
    """Whom Fanal is compared with: a peer, or itself under other circumstances."""
    name: str
    server: str
    options: str = ""
    quick: str = ""


@dataclass
class Figure:
    name: str
    get: Callable[[dict], Optional[float]]
    form: Callable[[float], str]
    other: Optional[str] = None
    limit: str = ""
    # Set for a figure that is made of a run and its neighbour, instead of a ratio.
    of_pair: Optional[Callable[[dict, dict], float]] = None
    # Which chart it is drawn in, if it is.
    chart: str = ""

    def relation(self) -> Optional[Tuple[str, float, bool]]:
        """`<=` or `>=`, the number, and whether it is for the ratio."""
        found = re.match(r"([<>]=) ([\d.]+)(x?)", self.limit)
        return (found.group(1), float(found.group(2)), bool(found.group(3))) if found else None

    def budget(self) -> str:
        return "yes" if self.form is yes_or_no else self.limit


@dataclass
class Row:
    title: str
    options: str
    quick: str = ""
    others: List[Other] = field(default_factory=list)
    figures: List[Figure] = field(default_factory=list)


PUT_16 = "reqresp --op put --size 1176 --conns 50 --depth 16 "
BENCH_USER = " --user bench --token 'a token for a bench'"

TIMED = "--seconds 3 --warmup 0.5"
TIMED_QUICK = "--seconds 1 --warmup 0.3"


def grouped(value):
    return "{:,.0f}".format(value)


def short(value):
    return "{:,.0f}".format(value) if value >= 100 else "{:.2f}".format(value)


def yes_or_no(value):
    return "yes" if value else "no"


def of(name):
    return lambda run: run.get(name)


def scaled(name, factor):
    return lambda run: None if run.get(name) is None else run[name] * factor


def per_second(other, limit=""):
    return Figure("messages/s", of("msgs_per_s"), grouped, other, limit, chart="does")


def cpu(other, limit=""):
    return Figure("CPU us/message", of("cpu_us_per_msg"), short, other, limit, chart="costs")


def p99(other, limit=""):
    return Figure("p99 ms", scaled("p99_us", 1e-3), short, other, limit, chart="costs")


def lost(limit="<= 0"):
    return Figure("lost %", of("loss_pct"), short, None, limit)


def tail(limit):
    return Figure("p99 / p50", lambda run: run["p99_us"] / max(run["p50_us"], 1), short, None,
                  limit)


def growth_kib(run):
    return run["rss_end_kb"] - run["rss_start_kb"]


def growth_per_cycle(fewer, more):
    """Bytes that each further cycle left behind. Memory that is kept for the next time levels
    off; a leak goes on."""
    return 1024 * (growth_kib(more) - growth_kib(fewer)) / (more["cycles"] - fewer["cycles"])


def timed(title, work, others, figures):
    named = [Other(name, name) for name in others]
    return Row(title, work + " " + TIMED, work + " " + TIMED_QUICK, named, figures)


def churn(title, options, cycles_per_second):
    more = Other("3x cycles", "fanal", "churn --cycles 60000" + options,
                 "churn --cycles 12000" + options)
    return Row(title, "churn --cycles 20000" + options, "churn --cycles 4000" + options, [more], [
        Figure("cycles/s", of("msgs_per_s"), grouped, None, ">= %d" % cycles_per_second),
        Figure("CPU us/cycle", of("cpu_us_per_msg"), short),
        # The least that an allocator hands out is 16 bytes, so that less is not one for each.
        Figure("growth B/cycle", lambda run: run["leak_bytes_per_cycle"], short, "3x cycles",
               "<= 16", of_pair=growth_per_cycle),
    ])


ROWS = [
    timed("fan-out to 100, W=8", "fanout --subs 100", ["redis", "limit-co"], [
        per_second("redis", ">= 1.00x"), cpu("redis"), cpu("limit-co", "<= 1.25x")]),
    timed("fan-out to 1000, W=8", "fanout --subs 1000", ["redis", "limit-co"], [
        per_second("redis", ">= 1.25x"), cpu("redis"), cpu("limit-co", "<= 1.45x")]),
    timed("fan-out to 100, W=1", "fanout --subs 100 --window 1", ["redis", "limit"], [
        per_second("redis"), cpu("redis"), cpu("limit", "<= 1.20x")]),
    timed("fan-out to 100, 64 KiB", "fanout --subs 100 --size 64k", ["nats", "limit"], [
        per_second("nats"), cpu("nats"), cpu("limit", "<= 1.15x")]),
    timed("fan-out to 50, 1 MiB", "big", ["nats", "limit"], [
        Figure("MB/s", of("mb_per_s"), grouped, "nats", chart="does"),
        Figure("CPU us/MB", of("cpu_us_per_mb"), short, "nats", chart="costs"),
        Figure("CPU us/MB", of("cpu_us_per_mb"), short, "limit", "<= 1.15x", chart="costs")]),
    timed("200 pairs at 60 Hz", "pairs --pairs 200 --rate 60", ["mosquitto-tcp"], [
        cpu("mosquitto-tcp", "<= 1.00x"), p99("mosquitto-tcp", "<= 0.4")]),
    timed("1000 pairs at 60 Hz", "pairs --pairs 1000 --rate 60", ["redis", "mosquitto-tcp"], [
        lost(), cpu("redis", "<= 1.00x"), cpu("mosquitto-tcp"), p99("redis"),
        p99("mosquitto-tcp")]),
    timed("200 pairs, closed loop", "pairs --pairs 200 --rate 0", ["redis"], [
        per_second("redis", ">= 1.00x"), cpu("redis")]),
    timed("PUT 32 B, 50 connections, depth 1", "reqresp --op put --size 32 --conns 50 --depth 1",
          ["redis"], [per_second("redis", ">= 1.00x"), cpu("redis")]),
    timed("PUT 1176 B, 50 connections, depth 16",
          "reqresp --op put --size 1176 --conns 50 --depth 16",
          ["redis"], [per_second("redis", ">= 1.00x"), cpu("redis"), tail("<= 3")]),
    Row("PUT 1176 B, depth 16, allow_all", PUT_16 + TIMED, PUT_16 + TIMED_QUICK, [
        Other("users, 50 rules", "fanal-users", PUT_16 + TIMED + BENCH_USER,
              PUT_16 + TIMED_QUICK + BENCH_USER)], [
        per_second("users, 50 rules", "<= 1.05x"), cpu("users, 50 rules")]),
    timed("GET 1176 B, 50 connections, depth 16",
          "reqresp --op get --size 1176 --conns 50 --depth 16",
          ["redis"], [per_second("redis", ">= 1.00x"), cpu("redis")]),
    Row("idle connections", "idle --conns 5000", "idle --conns 1000",
        [Other("mosquitto-tcp", "mosquitto-tcp")], [
        Figure("KiB each, idle", of("rss_kb_per_conn"), short, "mosquitto-tcp", "<= 2.0",
               chart="costs"),
        Figure("KiB each, after a message", of("rss_kb_per_conn_1msg"), short, "mosquitto-tcp",
               "<= 2.5", chart="costs"),
        Figure("CPU us/connect", of("cpu_us_per_connect"), short, "mosquitto-tcp")]),
    Row("one stalled of 51, 500/s x 64 KiB", "stalled --rate 500 --seconds 10",
        "stalled --rate 500 --seconds 3",
        [Other("none stalled", "fanal", "stalled --rate 500 --seconds 10 --stalled 0",
               "stalled --rate 500 --seconds 3 --stalled 0")], [
        Figure("converges in 2 s", of("converged_2s"), yes_or_no, None, ">= 1"),
        Figure("RSS growth MiB", lambda run: (run["rss_max_kb"] - run["rss_conn_kb"]) / 1024, short,
               "none stalled", "<= 4"),
        Figure("p99 ms", scaled("p99_us", 1e-3), short, "none stalled", "<= 1.20x"), lost(),
        Figure("CPU us/message", of("cpu_us_per_msg"), short, "none stalled")]),
    churn("churn, own resources", "", 12500),
    churn("churn, one resource", " --shared", 9000),
    Row("a million resources", "million", "", [], [
        Figure("B each, passive", of("bytes_passive"), grouped, None, "<= 200"),
        Figure("B each, in use", of("bytes_in_use"), grouped, None, "<= 1000"),
        Figure("LIST of 100,000 names, ms", of("list_ms"), short, None, "<= 50")]),
]
