"""Progress bars appear only where a person watches."""

from admbench import progress


def test_nothing_is_printed_without_a_terminal(capsys):
    assert list(progress.track(range(3), "Counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_unless_quiet(terminal):
    assert list(progress.track(range(3), "Counting")) == [0, 1, 2]
    captured = terminal.readouterr()
    assert "Counting" in captured.err
    assert captured.out == ""
    progress.set_quiet(True)
    try:
        assert list(progress.track(iter("ab"), "Counting", total=2)) == ["a", "b"]
    finally:
        progress.set_quiet(False)
    assert terminal.readouterr() == ("", "")
