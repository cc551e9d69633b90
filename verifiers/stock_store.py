"""What is known of stock testbenches in the disk cache, shared by all workers: goldens' scores, expanded macros, and
where what the harness declares stands in it.

Only what came to a good end is kept: a failure may have been the machine's.
"""

import json
from dataclasses import asdict

from verifiers.cache import DiskCache, entry_key
from verifiers.stock_checker import StockScore
from verifiers.stock_rename import StockHarness, harness_of_json
from verifiers.types import Port, TestbenchOracle


class StockStore:
    """Scores and texts by oracle. `version` is the simulator's."""

    def __init__(self, cache: DiskCache, version: str) -> None:
        self._cache, self._version = cache, version

    def score(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> StockScore | None:
        """The golden's score in its testbench, if it is known."""
        payload = self._cache.get(self._score_key(oracle, top_module, ports))
        return None if payload is None else StockScore(**json.loads(payload))

    def keep_score(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...], score: StockScore) -> None:
        """Keep the golden's score."""
        self._cache.put(self._score_key(oracle, top_module, ports), json.dumps(asdict(score)).encode())

    def expanded(self, oracle: TestbenchOracle) -> str | None:
        """The testbench with its macros expanded, if that is known."""
        payload = self._cache.get(self._text_key(oracle))
        return None if payload is None else payload.decode()

    def keep_expanded(self, oracle: TestbenchOracle, text: str) -> None:
        """Keep the expanded testbench."""
        self._cache.put(self._text_key(oracle), text.encode())

    def harness(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> StockHarness | None:
        """The harness of an oracle, if it was read before."""
        payload = self._cache.get(self._harness_key(oracle, top_module, ports))
        return None if payload is None else harness_of_json(json.loads(payload))

    def keep_harness(
        self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...], harness: StockHarness
    ) -> None:
        """Keep a harness that was read."""
        self._cache.put(self._harness_key(oracle, top_module, ports), json.dumps(asdict(harness)).encode())

    def _score_key(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> str:
        return entry_key("control", asdict(oracle), top_module, [asdict(port) for port in ports], self._version)

    def _harness_key(self, oracle: TestbenchOracle, top_module: str, ports: tuple[Port, ...]) -> str:
        return entry_key("harness", asdict(oracle), top_module, [asdict(port) for port in ports])

    def _text_key(self, oracle: TestbenchOracle) -> str:
        return entry_key("expanded", oracle.testbench, oracle.files, self._version)
