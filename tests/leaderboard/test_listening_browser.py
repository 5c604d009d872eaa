"""Listening in a real browser: one clock without a gap, pictures, keys, blind tests without peeking, votes."""

import base64
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from scipy.stats import binomtest

from admbench.leaderboard.trials import order
from admbench.leaderboard.votes import read_votes

from .browsing import AXE, new_page

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

RENDERED = """async ({loop, seconds, at}) => {
  const rate = 48000, tone = (frequency, phase = 0) => {
    const buffer = new AudioBuffer({length: rate, sampleRate: rate});
    const wave = (_, i) => Math.sin(2 * Math.PI * frequency * i / rate + phase);
    buffer.copyToChannel(Float32Array.from({length: rate}, wave), 0);
    return buffer;
  };
  const context = new OfflineAudioContext(1, seconds * rate, rate);
  const clock = new listening.OneClock(context);
  clock.put([tone(440), tone(440), tone(440, Math.PI / 2)]);
  if (loop) clock.setLoop(true);
  clock.start(0);
  for (const [time, index] of at) context.suspend(time).then(() => { clock.select(index); context.resume(); });
  const bytes = new Uint8Array((await context.startRendering()).getChannelData(0).buffer);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""
"""A clock of three tones of one second, the third a quarter of a period ahead, with switches at given times."""


@pytest.fixture
def listening(site, page):
    """The page of one model, with the clips of a caption decoded and drawn."""
    page.goto((site.root / "listen" / "tiny-tango.html").as_uri())
    page.wait_for_selector("canvas[data-drawn]")
    return page


@pytest.fixture(scope="module")
def scripts(site, browser):
    """A page whose scripts are asked alone; nothing on it is used."""
    page = new_page(browser)
    page.goto((site.root / "listen" / "tiny-tango.html").as_uri())
    yield page
    page.close()


def until(page, expression):
    """Wait for an expression to be true; a page that allows no eval has no wait_for_function."""
    for _ in range(1500):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never true: {expression}")


def render(page, **options):

    text = page.evaluate(RENDERED, {"loop": False, "seconds": 1, "at": [], **options})
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(float)


def test_switching_between_equal_clips_cannot_be_told_from_not_switching(scripts):
    still, switched = render(scripts), render(scripts, at=[(0.3, 1), (0.304, 0), (0.5, 1)])
    assert abs(still[4800:]).max() > 0.99
    assert abs(still - switched).max() < 1e-5


def test_a_switch_fades_within_milliseconds_and_leaves_no_gap(scripts):

    heard, first = render(scripts, at=[(0.5, 2)]), render(scripts)
    assert abs(heard[: int(0.5 * 48_000)] - first[: int(0.5 * 48_000)]).max() == 0
    slope = 2 * np.pi * 440 / 48_000  # the largest step of a tone; a linear fade of 5 ms adds 2 / 240
    assert abs(np.diff(heard[4800:])).max() < slope + 2 / 240
    begun = 480  # samples after the start that is asked for
    second = np.sin(2 * np.pi * 440 * (np.arange(48_000) - begun) / 48_000 + np.pi / 2)
    after = slice(int(0.5 * 48_000) + 128 + 480 + 241, 47_000)
    assert abs(heard[after] - second[after]).max() < 1e-3
    loudness = np.sqrt(np.convolve(heard[4800:47_000] ** 2, np.ones(109) / 109, "valid"))
    assert loudness.min() > 0.45  # a quarter of a period apart, two tones add up to 0.5 in the middle of the fade


def test_a_loop_goes_on_without_a_gap_and_a_switch_in_it_is_on_the_same_clock(scripts):

    heard = render(scripts, loop=True, seconds=3, at=[(1.7, 1)])
    expected = np.sin(2 * np.pi * 440 * (np.arange(3 * 48_000) - 480) / 48_000)  # 440 whole periods a loop
    assert abs(heard[2000:] - expected[2000:]).max() < 1e-3


def test_a_tone_is_bright_at_its_frequency_and_no_clip_is_too_short_or_long(scripts):
    found = scripts.evaluate("""() => {
      const {decibels, hertz, mel, ROWS, COLUMNS} = listening.spectrogram, rate = 16000;
      const tone = (frequency, frames, channels = 1) => {
        const buffer = new AudioBuffer({length: frames, sampleRate: rate, numberOfChannels: channels});
        for (let c = 0; c < channels; c++) buffer.copyToChannel(Float32Array.from({length: frames},
          (_, i) => (c ? -1 : 1) * Math.sin(2 * Math.PI * frequency * i / rate)), c);
        return buffer;
      };
      const brightest = (buffer) => {
        const values = decibels(buffer, rate / 2, buffer.duration);
        const column = Array.from({length: ROWS}, (_, row) => values[row * COLUMNS + COLUMNS / 2]);
        const row = column.indexOf(Math.max(...column));
        return [hertz(mel(rate / 2) * row / (ROWS - 1)), column[row]];
      };
      return {
        tones: [250, 1000, 5000].map((frequency) => brightest(tone(frequency, rate))),
        opposite: brightest(tone(1000, rate, 2)),
        lengths: [1, 50, 700000].map((n) => decibels(tone(440, n), rate / 2, n / rate).every(Number.isFinite)),
      };
    }""")
    for (brightest, level), frequency in zip(found["tones"], (250, 1000, 5000), strict=True):
        assert abs(brightest - frequency) < 0.05 * frequency + 30
        assert level == pytest.approx(-3, abs=1.5)
    assert found["opposite"][1] == pytest.approx(-3, abs=1.5)  # channels that cancel each other are not silent
    assert found["lengths"] == [True, True, True]


def test_the_same_loudness_is_full_precisions_and_nothing_clips(scripts):
    clips = [{"loudness": -20, "peak": 0.5}, {"loudness": -26, "peak": 0.9}, {"loudness": None, "peak": 0}, None]
    gains = scripts.evaluate("([clips, like]) => listening.clips.levels(clips, like)", [clips, 0])
    raised = 10 ** (6 / 20)
    assert gains[1] / gains[0] == pytest.approx(raised)
    assert gains[1] * 0.9 == pytest.approx(0.98)
    quiet = [{"loudness": -20, "peak": 0.01}, {"loudness": -80, "peak": 0.001}]
    assert scripts.evaluate("([clips, like]) => listening.clips.levels(clips, like)", [quiet, 0]) == [1, 10]


def test_everything_is_done_from_the_keyboard(listening):
    page = listening
    heard = page.locator("#heard")
    page.keyboard.press("2")
    assert heard.inner_text() == "fp32"
    page.keyboard.press("ArrowDown")
    assert heard.inner_text() != "fp32"
    assert page.locator(".source.heard").count() == 1
    page.keyboard.press("Space")
    until(page, "listening.clock.playing && listening.clock.position > 0.1")
    page.keyboard.press("1")
    assert heard.inner_text() == "reference"
    assert page.evaluate("listening.clock.playing")
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Play"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("listening.clock.position") == pytest.approx(0.5, abs=0.01)
    page.keyboard.press("d")
    assert page.locator("canvas[data-drawn=difference]").count() == 2
    page.keyboard.press("l")
    assert page.locator("#loop").get_attribute("aria-pressed") == "false"
    page.keyboard.press("m")
    assert page.locator("#match").get_attribute("aria-pressed") == "true"
    before = page.locator("#caption").inner_text()
    page.keyboard.press("n")
    assert page.locator("#caption").inner_text() != before
    page.keyboard.press("/")
    page.keyboard.type("number 2 l")
    assert page.locator("#captions li").count() == 0
    page.keyboard.press("Escape")


def test_the_worst_come_first_and_captions_are_searched(listening):
    page = listening
    assert page.locator("#sort").input_value() == page.evaluate("listening.data.worst_by")
    shown = page.locator("#captions button").evaluate_all("buttons => buttons.map(one => one.dataset.caption)")
    data = page.evaluate("listening.data")
    by = next(score for score in data["scores"] if score["key"] == data["worst_by"])
    worst = {
        caption["id"]: max(
            (-1 if by["higher_is_better"] else 1) * clip["scores"][by["key"]]
            for clip, source in zip(caption["clips"], data["sources"], strict=True)
            if source["kind"] == "method" and by["key"] in clip["scores"]
        )
        for caption in data["captions"]
    }
    assert shown == sorted(worst, key=worst.get, reverse=True)
    page.locator("#search").fill(data["captions"][-1]["id"])
    assert page.locator("#captions button").count() == 1
    page.locator("#captions button").click()
    until(page, f"location.search.includes({json.dumps(data['captions'][-1]['id'])})")
    page.reload()
    page.wait_for_selector("canvas[data-drawn]")
    assert page.locator("#caption").inner_text() == data["captions"][-1]["text"]


def test_order_and_p_are_those_of_python_and_scipy(scripts):
    seed, captions = "0123456789abcdef0011223344556677", [f"c{number}" for number in range(5)]
    drawn = scripts.evaluate("([seed, captions]) => listening.trials.order(seed, captions, 200)", [seed, captions])
    assert [(one["caption"], one["coin"]) for one in drawn] == [
        (one.caption, int(one.heads)) for one in order(seed, captions, 200)
    ]
    for count in (16, 24, 48):
        found = scripts.evaluate(
            "n => Array.from({length: n + 1}, (_, k) => ['atLeast', 'asFar'].map(t => listening.trials[t](k, n)))",
            count,
        )
        for hits, (greater, two_sided) in enumerate(found):
            assert greater == pytest.approx(binomtest(hits, count, 0.5, alternative="greater").pvalue, rel=1e-9)
            assert two_sided == pytest.approx(binomtest(hits, count, 0.5).pvalue, rel=1e-9)


def trial(page, answer):
    page.wait_for_selector("#stimuli button:not(:disabled)")
    for stimulus in range(page.locator("#stimuli button").count()):
        page.keyboard.press(str(stimulus + 1))
    page.wait_for_selector("#answers button:not(:disabled)")
    page.keyboard.press(answer)


def test_a_blind_test_says_nothing_before_its_end_and_its_export_is_read(listening, tmp_path):
    page = listening
    page.locator("#show-blind").click()
    page.locator("#begin").click()
    page.wait_for_selector("#stimuli button:not(:disabled)")
    page.keyboard.press("a")  # nothing was heard yet: no answer
    assert page.locator("#trial-title").inner_text() == "ABX: trial 1 of 16"
    for number in range(16):
        assert page.locator("#trial-title").inner_text() == f"ABX: trial {number + 1} of 16"
        seen = page.locator("#trial").inner_html()
        kept = page.evaluate("JSON.parse(localStorage.getItem('admbench-votes-1')).sessions[0]")
        assert kept["result"] is None
        assert "coin" not in json.dumps(kept)
        assert not any(word in seen for word in ("right", "wrong", "p =", "coin", "sha256"))
        assert page.locator("#compare").is_hidden()
        if number == 7:
            page.locator("#leave").click()
            page.reload()  # the test goes on where it was
            page.wait_for_selector("canvas[data-drawn]")
            page.locator("#show-blind").click()
            page.locator("#resume").click()
        trial(page, "ab"[number % 2])
    page.wait_for_selector("#outcome:not([hidden])")
    with page.expect_download() as found:
        page.locator("#export-outcome").click()
    path = tmp_path / "votes.json"
    found.value.save_as(path)
    (session,) = read_votes(path).sessions
    assert (session.kind, session.planned, len(session.trials)) == ("abx", 16, 16)
    assert page.locator("#outcome-text").inner_text().startswith(f"{session.hits} of 16 right, p = {session.p:.3f}")


def test_a_preference_is_of_the_method_wherever_it_stood(listening, tmp_path):
    page = listening
    page.locator("#show-blind").click()
    page.locator("#blind-kind").select_option("preference")
    page.locator("#begin").click()
    for _ in range(16):
        trial(page, "a")
    page.wait_for_selector("#outcome:not([hidden])")
    with page.expect_download() as found:
        page.locator("#export-outcome").click()
    found.value.save_as(tmp_path / "votes.json")
    (session,) = read_votes(tmp_path / "votes.json").sessions
    drawn = order(session.seed, session.captions, 16)
    assert [one.answer == "method" for one in session.trials] == [one.heads for one in drawn]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_blind_tests_have_no_serious_fault_of_access(listening, scheme):
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    listening.emulate_media(color_scheme=scheme)
    listening.evaluate(axe.AXE_SCRIPT)
    listening.locator("#show-blind").click()
    for step in ("#setup", "#trial"):
        listening.wait_for_selector(f"{step}:not([hidden])")
        assert [one for one in listening.evaluate(AXE) if one[0] in ("serious", "critical")] == [], step
        listening.locator("#begin").evaluate("button => button.click()")


def test_clips_are_loaded_when_they_are_needed_from_any_path(site, browser):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site.root.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page, asked = new_page(browser), []
        page.on("request", lambda one: asked.append(one.url) if "/clips/" in one.url else None)
        page.goto(f"http://127.0.0.1:{server.server_port}/{site.root.name}/listen/tiny-tango.html")
        page.wait_for_selector("canvas[data-drawn]")
        assert len(set(asked)) == len(asked) <= 4  # one caption: the recording, full precision, two methods
        page.keyboard.press("n")
        until(page, "document.querySelectorAll('canvas[data-drawn]').length >= 4")
        assert 4 < len(asked) <= 8
        page.close()
        server.shutdown()


def test_without_scripts_the_captions_are_there(site, browser):
    page = new_page(browser, java_script_enabled=False)
    page.goto((site.root / "listen" / "tiny-tango.html").as_uri())
    assert "a test tone number" in page.locator("noscript").inner_text()
    assert page.locator("#listening").is_hidden()
    page.close()
