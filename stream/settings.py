"""Settings: flags over environment over TOML file over defaults, each shown with where it came from.

Environment variables are `TIDECAST_<SECTION>__<NAME>`, such as `TIDECAST_KAFKA__BOOTSTRAP_SERVERS`. The file is
`tidecast.toml` in the working directory, or the one that `--config` or `TIDECAST_CONFIG` names.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from stream.errors import UsageError

DEFAULT_FILE = Path("tidecast.toml")
_PREFIX = "TIDECAST_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """The broker and the consumer group."""

    bootstrap_servers: str = Field("localhost:9092", description="brokers, host:port, comma-separated")
    group_id: str = Field("tidecast", min_length=1, description="consumer group; workers of one group share the work")
    group_instance_id: str | None = Field(None, description="static membership: a fixed name for this worker")
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic",
        description="consumer: that of Kafka 4 (KIP-848), in which the broker assigns and knows the time-outs",
    )
    session_timeout_ms: Annotated[
        int, Field(ge=1_000, description="a silent worker loses its partitions after (classic group protocol)")
    ] = 45_000
    fetch_wait_max_ms: Annotated[int, Field(ge=1, description="how long the broker may hold back a fetch")] = 50
    transaction_timeout_ms: Annotated[
        int, Field(ge=1_000, description="the broker aborts the open transaction of a dead worker after")
    ] = 15_000
    extra: dict[str, str] = Field(
        default_factory=dict, description="further librdkafka properties, such as security.protocol"
    )


class StoreSettings(_Section):
    """Redis or Valkey."""

    url: str = Field(
        "redis://localhost:6379/0", description="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
    )
    namespace: str = Field("tidecast", pattern=r"^[^\s:{}]+$", description="prefix of every key")
    buckets: Annotated[int, Field(ge=1, le=1024, description="hash-tag buckets; fixed for a namespace's life")] = 1
    timeout_s: Annotated[float, Field(gt=0, description="how long to wait for an answer")] = 5.0
    expiry_grace_s: Annotated[
        float,
        Field(
            ge=0, description="records are removed so long after their TTL, or after twice the TTL if that is sooner"
        ),
    ] = 86_400.0


class WorkerSettings(_Section):
    """The loop."""

    delivery: Literal["auto", "exactly_once", "at_least_once"] = Field(
        "auto", description="of published records; auto: exactly once where the broker hides aborted transactions"
    )
    batch_max_records: Annotated[int, Field(ge=1, le=100_000, description="a micro-batch is full at")] = 4_096
    batch_max_wait_ms: Annotated[int, Field(ge=1, le=10_000, description="a micro-batch waits at most")] = 10
    commit_interval_ms: Annotated[
        int | None, Field(ge=1, description="commits every; null: 100 exactly once, 1000 at least once")
    ] = None
    max_future_skew_ms: Annotated[int, Field(ge=0, description="events further ahead are dead letters")] = 300_000
    max_record_bytes: Annotated[int, Field(ge=1, description="larger records are dead letters")] = 1_000_000
    duplicate_horizon: Annotated[
        int, Field(ge=0, le=1_000_000, description="events of a partition for which an event id is remembered; 0: off")
    ] = 8_192
    late_after_ms: Annotated[int, Field(ge=0, description="events this far behind their partition count as late")] = (
        3_600_000
    )
    rescore_tick_ms: Annotated[
        int, Field(ge=60_000, description="scores that have aged are renewed at multiples of it, in event time")
    ] = 86_400_000
    max_entities: Annotated[int, Field(ge=1, description="entities of each kind kept in memory")] = 200_000
    hung_after_s: Annotated[
        float, Field(ge=60, description="a worker whose loop has not turned for so long ends itself")
    ] = 300.0
    shutdown_grace_s: Annotated[float, Field(gt=0, description="time to finish after SIGTERM")] = 20.0


class ModelSettings(_Section):
    """Which models run, and how much they tell."""

    directory: Path | None = Field(
        None, description="model registry; of models that it has none of, the shipped ones score; null: all of them"
    )
    versions: dict[str, str] = Field(default_factory=dict, description="pinned versions by model name; else newest")
    variant: str | None = Field(
        None, description="take 0.10.0+households before 0.10.0, say, of the models that have such a version"
    )
    rescore_after_days: dict[str, Annotated[float, Field(ge=0, lt=100_000)]] = Field(
        default_factory=dict,
        description="a score is renewed after so many days without an event, by model; 0: never; else its manifest's",
    )
    reorder_products: Annotated[int, Field(ge=1, le=32, description="products a customer's reorder score lists")] = 10
    reasons: Annotated[int, Field(ge=0, le=10, description="reasons a score gives")] = 3
    explore: Annotated[
        float, Field(ge=0, le=1, description="share of offer lists in which a draw decides which comes first; 0: none")
    ] = 0.0
    service_level: Annotated[float, Field(gt=0, lt=1, description="for suggested order quantities")] = 0.95


class FeatureSettings(_Section):
    """Features that are read of other entities than the one that is scored."""

    joined_for_s: Annotated[
        float, Field(ge=0, description="what is read of products is kept so long; 0: nothing is, it is unknown")
    ] = 60.0
    joined_max_entities: Annotated[int, Field(ge=1, description="products that are kept at most")] = 100_000


class FeatureLogSettings(_Section):
    """The topic `feature-log`, which `tidecast parity` recomputes."""

    share: Annotated[float, Field(ge=0, le=1, description="share of the scored vectors that are logged; 0: none")] = (
        0.01
    )


class MetricsSettings(_Section):
    """Prometheus metrics and /healthz."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65_535, description="0 turns it off")] = 0


class Settings(BaseSettings):
    """All settings of a worker and of the commands around it."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    store: StoreSettings = StoreSettings()
    worker: WorkerSettings = WorkerSettings()
    models: ModelSettings = ModelSettings()
    features: FeatureSettings = FeatureSettings()
    feature_log: FeatureLogSettings = FeatureLogSettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(cls, *_args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Sources are merged in `load`, which also remembers where each value came from."""
        return (kwargs["init_settings"],) if "init_settings" in kwargs else (_args[1],)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each `section.name` where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


def load(flags: Sequence[str] = (), config: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Reads the settings.

    Args:
        flags: `section.name=value`, the highest precedence.
        config: a TOML file; it must exist if it is named.
        environ: the environment; the process's own where None.

    Raises:
        UsageError: a file that cannot be read, an unknown name or a value out of range.

    Example:
        >>> loaded = load(["worker.batch_max_records=100"], environ={})
        >>> loaded.settings.worker.batch_max_records, loaded.origins["worker.batch_max_records"]
        (100, 'flag')
    """
    env = os.environ if environ is None else environ
    path = config or (Path(env["TIDECAST_CONFIG"]) if "TIDECAST_CONFIG" in env else None)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    sources = (_from_file(path), ("environment", _from_environment(env)), ("flag", _from_flags(flags)))
    for origin, values in sources:
        for section, settings in values.items():
            if not isinstance(settings, Mapping):
                raise UsageError(f"{origin}: {section!r} is no section; settings are written section.name")
            _merge(merged.setdefault(section, {}), settings)
            origins |= {f"{section}.{name}": origin for name in settings}
    try:
        return Loaded(Settings(**merged), origins)
    except pydantic.ValidationError as error:
        raise UsageError(_explain(error, origins)) from error


def _merge(into: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Tables such as kafka.extra are merged by name: a flag for one property keeps those of the file."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), Mapping):
            into[name] = {**into[name], **value}
        else:
            into[name] = value


def _from_file(path: Path | None) -> tuple[str, dict[str, Any]]:
    chosen = path or DEFAULT_FILE
    if path is None and not chosen.exists():
        return "default", {}
    try:
        return f"file {chosen}", tomllib.loads(chosen.read_text())
    except OSError as error:
        raise UsageError(f"settings file {chosen} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {chosen} is not valid TOML: {error}") from error


class _Environment(EnvSettingsSource):
    """pydantic-settings' own reading of the environment, over a mapping that is handed in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {k.lower(): v for k, v in environ.items()}
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._environ


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {f"{_PREFIX}{section}__".lower() for section in Settings.model_fields}
    for name in environ:
        if name.startswith(_PREFIX) and "__" in name and not name.lower().startswith(tuple(known)):
            raise UsageError(f"environment variable {name} names no settings section; see `tidecast config show`")
    try:
        return _Environment(environ)()
    except SettingsError as error:
        what = str(error).partition(" from source")[0]
        raise UsageError(f"environment: {what}; write it as JSON, or each name in a variable of its own") from error


def _from_flags(flags: Sequence[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        section, dot, key = name.partition(".")
        if not (equals and dot and section and key):
            raise UsageError(f"--set {flag!r}: write section.name=value, such as worker.commit_interval_ms=500")
        first, nested, rest = key.partition(".")
        if nested:
            table = out.setdefault(section, {}).setdefault(first, {})
            if not isinstance(table, dict):
                raise UsageError(f"--set {flag!r}: {section}.{first} is also set as a whole; write one or the other")
            table[rest] = value
        else:
            out.setdefault(section, {})[key] = value
    return out


def _explain(error: pydantic.ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        setting = ".".join(str(part) for part in problem["loc"][:2])
        of_section = (o for path, o in origins.items() if path.startswith(f"{setting}."))
        origin = origins.get(setting) or next(of_section, "environment")
        what = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"setting {name} (from {origin}): {what}; got {problem['input']!r}")
    return "\n".join(lines) + "\nsee `tidecast config show` for all settings and their values"
