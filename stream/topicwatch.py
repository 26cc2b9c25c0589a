"""Topic watch: finds out that an input topic is gone, or was deleted and made anew under its name.

Offsets of a topic that was made anew begin at 0, while K and R are of the old one: its first events would be taken for
ones that have been folded. So the store keeps the id of each topic that its fences are of (KIP-516).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from features.store import StoreUnavailable
from stream.errors import UsageError
from stream.kafkaclient import client_config
from stream.settings import KafkaSettings

Pin = Callable[[Mapping[str, str]], Mapping[str, str]]

_WAIT_S = 10.0
#: The id that brokers without topic ids give.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


class TopicWatch:
    """Asks the broker which topics it has under the names of ours.

    Args:
        kafka: the broker.
        topics: their names.
    """

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str]) -> None:
        self._admin = AdminClient(client_config(kafka))
        self._topics = TopicCollection(list(topics))
        self._asked: dict[str, Any] = {}

    def check(self, pin: Pin) -> None:
        """Looks at the answer to the last question, if it is there, and asks the next; waits for nobody.

        Args:
            pin: gives the ids that the store has, and notes those that it lacks.

        Raises:
            UsageError: a topic is gone, or is another one.
        """
        if self._asked and all(answer.done() for answer in self._asked.values()):
            with contextlib.suppress(StoreUnavailable):  # asked again the next time
                self._judge(pin, 0.0)
            self._asked = {}
        if not self._asked:
            self._asked = self._admin.describe_topics(self._topics, request_timeout=_WAIT_S)

    def check_now(self, pin: Pin) -> None:
        """Asks, and waits for the answer.

        Raises:
            UsageError: a topic is gone, or is another one.
            StoreUnavailable: the store does not answer.
        """
        self._asked = self._admin.describe_topics(self._topics, request_timeout=_WAIT_S)
        self._judge(pin, _WAIT_S + 1)
        self._asked = {}

    def _judge(self, pin: Pin, wait_s: float) -> None:
        ids = {}
        for name, answer in self._asked.items():
            try:
                ids[name] = str(answer.result(wait_s).topic_id)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise UsageError(f"topic {name} is gone; make it again with `tidecast topics create`") from error
            except TimeoutError:
                continue
        known = {name: topic_id for name, topic_id in ids.items() if topic_id != _NO_ID}
        for name, held in pin(known).items():
            if held != known[name]:
                raise UsageError(
                    f"topic {name} was deleted and made anew (id {known[name]}, the store knows {held}): its offsets "
                    "begin again, and the store would take new events for old ones; see docs/operations.md, 'A topic "
                    "that was made anew'"
                )
