"""The judges of a run: found, identified and loaded by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from admbench.bench.scoring.spec import JudgeChoice, JudgeSpec
from admbench.errors import UsageError
from admbench.identities import PluginIdentity
from admbench.metrics.extractors import registry as extractor_registry
from admbench.metrics.extractors.base import ROLES, Extractor, Judges, Role
from admbench.metrics.roles import roles_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def reading(judges: Judges) -> dict[str, Any]:
    """Return how audio comes to the networks, as results say it: in one way, to each at its own rate."""
    from admbench.metrics.audio import READING

    return READING | {"sample_rates": {judge.name: judge.sample_rate for judge in judges.values()}}


class Timed:
    """An embedder that counts the seconds in which it computes; in everything else it is the embedder."""

    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_audio(self, waveforms: NDArray[np.float32]) -> Any:
        """See `admbench.metrics.embedders.base.AudioEmbedder`."""
        return self._timed(self._embedder.embed_audio, waveforms)

    def embed_text(self, captions: Sequence[str]) -> Any:
        """See `admbench.metrics.embedders.base.JointEmbedder`."""
        return self._timed(self._embedder.embed_text, captions)

    def _timed(self, compute: Callable[[Any], Any], what: Any) -> Any:
        started = time.perf_counter()
        try:
            return compute(what)
        finally:
            self.seconds += time.perf_counter() - started


def load_judges(spec: JudgeSpec, extractors: Iterable[Extractor]) -> Judges:
    """Load the judges that some extractors read, and no others; one that has two seats is loaded once.

    Raises:
        BenchError: an unknown name, a judge that cannot take the role, or weights that are missing or damaged.
    """
    loaded: dict[JudgeChoice, Any] = {}
    judges: dict[str, Any] = {}
    for role in roles_of(extractors):
        for seat, choice in spec.of_role(role).items():
            judge = _judge(role, choice)
            if choice not in loaded:
                loaded[choice] = judge.load(choice.weights)
            judges[seat] = loaded[choice]
    return judges


def identify(spec: JudgeSpec, extractors: Iterable[Extractor]) -> list[list[str | None]]:
    """Return what the arrays of some extractors depend on besides the clips, without loading a network.

    Returns:
        Of each extractor, once for each judge that it reads: hash of the identity of its plug-in, and what it says of
        its own weights; of the judge the name, hash of the identity of its plug-in, of its weights, and of what lies
        beside them.

    Raises:
        BenchError: as for `load_judges`, as far as that is known without loading.
    """
    known = list(extractors)
    judges: dict[Role | None, list[list[str | None]]] = {None: [[]]}
    for role in roles_of(known):
        judges[role] = [_identified(role, choice) for choice in spec.of_role(role).values()]
    return [
        [extractor_registry.identity(one.name).sha256, one.identity(), *judge]
        for one in known
        for judge in judges[one.role]
    ]


def plugins_of(spec: JudgeSpec, extractors: Iterable[Extractor]) -> list[PluginIdentity]:
    """Return the identities of the plug-ins that compute the arrays of some extractors: these, and their judges."""
    from admbench.metrics.embedders import registry

    known = list(extractors)
    names = {choice.name for role in roles_of(known) for choice in spec.of_role(role).values()}
    return [
        *(extractor_registry.identity(one.name) for one in known),
        *(registry.identity(name) for name in sorted(names)),
    ]


def _identified(role: Role, choice: JudgeChoice) -> list[str | None]:
    from admbench.metrics.embedders import registry

    judge, weights = _judge(role, choice), choice.weights
    beside = judge.configuration(weights) if hasattr(judge, "configuration") else None
    return [choice.name, registry.identity(choice.name).sha256, judge.fingerprint(weights), beside]


def check_judges(spec: JudgeSpec) -> None:
    """Refuse judges that are unknown, or that cannot take their role, whether they are going to be read or not.

    Raises:
        UsageError: the first that is found.
    """
    for role in ROLES:
        for choice in spec.of_role(role).values():
            _judge(role, choice)


def _judge(role: Role, choice: JudgeChoice) -> Any:
    """Return the plug-in of a judge."""
    from admbench.metrics.embedders import registry

    registry.check(choice.name)
    judge = registry.get(choice.name)
    if role not in judge.roles:
        able = " or ".join(judge.roles)
        raise UsageError(
            f'{role} "{choice.name}": this judge can be a {able} only; `bench list judges` shows what there is'
        )
    return judge
