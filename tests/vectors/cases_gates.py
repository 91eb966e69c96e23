"""Vectors of the strict-v1 numbers (docs/spec/gates.md) and of the DSSE encoding."""

from reference import Vectors

NAN, INF = float("nan"), float("inf")
JUST_ABOVE = 0.005 + 1e-10


def gates() -> Vectors:
    out = Vectors()
    for failed, total, answer in (
        *((0, 1, "pass"), (5, 1000, "pass"), (50, 10_000, "pass"), (499, 100_000, "pass")),
        *((6, 1000, "fail"), (51, 10_000, "fail"), (1, 1, "fail"), (1, 199, "fail")),
        *((0, 0, "invalid"), (2, 1, "invalid"), (-1, 10, "invalid"), (0, -1, "invalid")),
        *((True, 1000, "invalid"), (0, True, "invalid"), (1.0, 1000, "invalid")),
        *((0, 1000.0, "invalid"), ("0", 1000, "invalid"), (None, 1000, "invalid")),
        (5 * 10**400, 10**403, "pass"),
    ):
        out.gives("error_rate", [failed, total], answer)
    for ratio, answer in (
        *((0, "pass"), (0.0, "pass"), (-0.0, "pass"), (0.005, "pass"), (JUST_ABOVE, "pass")),
        *((0.0050000002, "fail"), (1, "fail"), (1.0, "fail")),
        *((1.0000001, "invalid"), (-1e-300, "invalid"), (NAN, "invalid"), (INF, "invalid")),
        *((-INF, "invalid"), (True, "invalid"), (False, "invalid"), ("0.001", "invalid")),
        *((None, "invalid"), ([0.001], "invalid"), ({}, "invalid"), (10**400, "invalid")),
    ):
        out.gives("error_rate_value", [ratio], answer)
    for samples, value in (
        *(([7], 7), ([0], 0), ([2, 1], 2), ([1.5, 0.5], 1.5)),
        *((list(range(1, 20)), 19), (list(range(1, 21)), 19), (list(range(1, 22)), 20)),
        *((list(range(100, 0, -1)), 95), (list(range(1, 102)), 96), ([5] * 40, 5)),
    ):
        out.gives("p95", [samples], value, f"nearest rank, n = {len(samples)}", level="choice")
    for samples, note in (
        *(([], "no samples"), ([1, -1], "a negative sample"), ([True], "a boolean")),
        *(([1.0, NAN], "NaN would spoil the sort silently"), ([INF], "infinity")),
        *((["1"], "text"), ([None], "null"), ("12", "not a list"), (None, "null")),
        (([10**400]), "no binary64 holds it"),
    ):
        out.refuses("p95", [samples], note)
    _deltas(out)
    for count, answer in (
        *((0, "pass"), (1, "fail"), (10**30, "fail"), (-1, "invalid"), (False, "invalid")),
        *((0.0, "invalid"), ("0", "invalid"), (None, "invalid")),
    ):
        out.gives("replay_failures", [count], answer)
    return out


def _deltas(out: Vectors) -> None:
    for canary, baseline, answer in (
        *((110, 100, "pass"), (100, 100, "pass"), (0, 100, "pass"), (1100, 1000, "pass")),
        *((111, 100, "fail"), (1101, 1000, "fail"), (110.000001, 100.0, "fail")),
        *((110.00000000001, 100.0, "pass"), (2e-12, 1.5e-12, "fail")),
        *((100, 0, "invalid"), (0, 0, "invalid"), (1.0, 1e-12, "invalid")),
        *((1.0, -1.0, "invalid"), (-1, 100, "invalid"), (NAN, 100, "invalid")),
        *((100, NAN, "invalid"), (INF, 100, "invalid"), (100, INF, "invalid")),
        *((True, 100, "invalid"), (100, True, "invalid"), ("100", 100, "invalid")),
        *((None, 100, "invalid"), (100, None, "invalid"), (10**400, 100, "invalid")),
        (1.7e308, 0.5, "invalid"),
    ):
        out.gives("p95_delta", [canary, baseline], answer)


def dsse() -> Vectors:
    out = Vectors()
    hello = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    out.gives("dsse_pae", ["http://example.com/HelloWorld", b"hello world"], hello)
    out.gives("dsse_pae", ["", b""], b"DSSEv1 0  0 ")
    accented = b"DSSEv1 2 \xc3\xa9 1 \xff"
    out.gives("dsse_pae", ["\u00e9", b"\xff"], accented, "lengths count bytes")
    out.refuses("dsse_pae", ["a", "text"], "the payload is bytes")
    out.refuses("dsse_pae", [b"a", b""], "the type is text")
    out.refuses("dsse_pae", ["\ud800", b""], "a lone surrogate")
    return out
