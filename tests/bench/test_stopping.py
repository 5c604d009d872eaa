"""SIGTERM and SIGHUP stop a command as Ctrl-C does."""

from __future__ import annotations

import signal

import pytest

from admbench.bench.cli.stopping import signal_of, stopped_by_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_and_says_which(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt) as raised, stopped_by_signals():
            signal.raise_signal(number)
        assert 128 + signal_of(raised.value) == 128 + number
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal_of(KeyboardInterrupt()) == signal.SIGINT
