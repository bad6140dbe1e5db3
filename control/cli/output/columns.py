"""Decides which fields of each thing a person sees first, and in which order."""

from collections.abc import Sequence
from typing import Final

from control.cli.output.formats import Look, OutputColumn

Columns = Sequence[OutputColumn]

PIPELINES: Final[Columns] = (
    OutputColumn("NAME", "name", Look.ID),
    OutputColumn("REVISION", "revision", Look.NUMBER),
    OutputColumn("JOBS", "jobs", Look.NUMBER),
    OutputColumn("STAGES", "stages"),
    OutputColumn("CLIENT", "client", Look.ID),
    OutputColumn("UPDATED", "updated_at", Look.AGE),
    OutputColumn("DESCRIPTION", "description"),
)
RUNS: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("REV", "revision", Look.NUMBER),
    OutputColumn("STATE", "state", Look.STATE),
    OutputColumn("TRIGGER", "trigger", Look.ID),
    OutputColumn("CLIENT", "client", Look.ID),
    OutputColumn("AGE", "created_at", Look.AGE),
    OutputColumn("TOOK", "", Look.TOOK),
    OutputColumn("REASON", "reason"),
)
RUN: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("PIPELINE", "pipeline"),
    OutputColumn("REVISION", "revision", Look.NUMBER),
    OutputColumn("STATE", "state", Look.STATE),
    OutputColumn("REASON", "reason"),
    OutputColumn("CLIENT", "client"),
    OutputColumn("TRIGGER", "trigger"),
    OutputColumn("SCHEDULE", "schedule_id", Look.ID),
    OutputColumn("SCHEDULED FOR", "scheduled_for", Look.AGE),
    OutputColumn("JOB OF RUN", "parent_run_id", Look.ID),
    OutputColumn("PRIORITY", "priority", Look.NUMBER),
    OutputColumn("INPUT", "input"),
    OutputColumn("ALLOWED FAILURES", "allowed_failures", Look.NUMBER),
    OutputColumn("CREATED", "created_at", Look.AGE),
    OutputColumn("STARTED", "started_at", Look.AGE),
    OutputColumn("FINISHED", "finished_at", Look.AGE),
    OutputColumn("TOOK", "", Look.TOOK),
)
JOBS: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("JOB", "name", Look.ID),
    OutputColumn("STAGE", "stage", Look.ID),
    OutputColumn("KIND", "kind", Look.ID),
    OutputColumn("STATE", "state", Look.STATE),
    OutputColumn("TRY", "attempt", Look.NUMBER),
    OutputColumn("WORKER", "worker", Look.ID),
    OutputColumn("TOOK", "", Look.TOOK),
    OutputColumn("REASON", "reason"),
)
JOB: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("RUN", "run_id", Look.ID),
    OutputColumn("NAME", "name"),
    OutputColumn("STAGE", "stage"),
    OutputColumn("KIND", "kind"),
    OutputColumn("VERSION", "version"),
    OutputColumn("STATE", "state", Look.STATE),
    OutputColumn("REASON", "reason"),
    OutputColumn("ERROR", "error"),
    OutputColumn("EXIT CODE", "exit_code", Look.NUMBER),
    OutputColumn("PRIORITY", "priority", Look.NUMBER),
    OutputColumn("ATTEMPT", "attempt", Look.NUMBER),
    OutputColumn("RETRIES", "retry_attempt", Look.NUMBER),
    OutputColumn("WORKER", "worker"),
    OutputColumn("PARTITION", "partition", Look.ID),
    OutputColumn("CHILD RUN", "child_run_id", Look.ID),
    OutputColumn("PROGRESS", "progress", Look.PERCENT),
    OutputColumn("OUTPUT", "output"),
    OutputColumn("LOG", "log_bytes", Look.BYTES),
    OutputColumn("CREATED", "created_at", Look.AGE),
    OutputColumn("READY", "ready_at", Look.AGE),
    OutputColumn("STARTED", "started_at", Look.AGE),
    OutputColumn("FINISHED", "finished_at", Look.AGE),
    OutputColumn("TOOK", "", Look.TOOK),
)
ATTEMPTS: Final[Columns] = (
    OutputColumn("ATTEMPT", "attempt", Look.NUMBER),
    OutputColumn("OUTCOME", "outcome", Look.ID),
    OutputColumn("WORKER", "worker", Look.ID),
    OutputColumn("TOOK", "", Look.TOOK),
    OutputColumn("EXIT", "exit_code", Look.NUMBER),
    OutputColumn("ERROR", "error"),
)
SCHEDULES: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("CRON", "spec.cron", Look.ID),
    OutputColumn("TIMEZONE", "spec.timezone", Look.ID),
    OutputColumn("ENABLED", "spec.enabled"),
    OutputColumn("PAUSED", "paused"),
    OutputColumn("NEXT", "next_at", Look.AGE),
    OutputColumn("NEXT AT", "next_at", Look.ID),
    OutputColumn("TAKES", "expected_seconds", Look.SECONDS),
    OutputColumn("WHY NOT", "reason"),
)
PLANNED: Final[Columns] = (
    OutputColumn("NOMINAL", "nominal", Look.ID),
    OutputColumn("DUE", "due", Look.AGE),
    OutputColumn("SCHEDULE", "schedule_id", Look.ID),
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("WAITING", "waiting"),
    OutputColumn("BACKFILL", "backfill"),
    OutputColumn("TAKES", "expected_seconds", Look.SECONDS),
)
TIMES: Final[Columns] = (
    OutputColumn("UTC", "nominal", Look.ID),
    OutputColumn("LOCAL", "local", Look.ID),
    OutputColumn("WHEN", "nominal", Look.AGE),
)
WORKERS: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("STATE", "state", Look.ID),
    OutputColumn("HOST", "host", Look.ID),
    OutputColumn("RUNNING", "running", Look.COUNT),
    OutputColumn("SLOTS", "slots", Look.NUMBER),
    OutputColumn("LABELS", "labels"),
    OutputColumn("KINDS", "kinds", Look.KEYS),
    OutputColumn("CONNECTED", "connected_at", Look.AGE),
    OutputColumn("REASON", "reason"),
)
PARTITIONS: Final[Columns] = (
    OutputColumn("PARTITION", "partition", Look.NUMBER),
    OutputColumn("CLASS", "class", Look.ID),
    OutputColumn("SLOTS", "slots", Look.NUMBER),
    OutputColumn("RUNNING", "running", Look.NUMBER),
    OutputColumn("DEPTH", "depth", Look.NUMBER),
    OutputColumn("EXPECTED", "expected_seconds", Look.SECONDS),
    OutputColumn("AHEAD", "ahead_seconds", Look.SECONDS),
    OutputColumn("WINDOW", "window_seconds", Look.SECONDS),
    OutputColumn("OLDEST", "oldest_age_seconds", Look.SECONDS),
    OutputColumn("WORKERS", "workers"),
)
RULES: Final[Columns] = (
    OutputColumn("SLOW PARTITIONS, %", "slow", Look.NUMBER),
    OutputColumn("FOLLOWS THE MIX", "slow_auto"),
    OutputColumn("SLOW FROM", "threshold_seconds", Look.SECONDS),
    OutputColumn("LEARNED", "threshold_auto"),
    OutputColumn("LEND", "lend"),
    OutputColumn("SLOTS", "slots", Look.NUMBER),
    OutputColumn("KEPT FREE OF SLOW JOBS", "reserve", Look.NUMBER),
    OutputColumn("SLOW RUNNING", "slow_running", Look.NUMBER),
    OutputColumn("WAITING", "waiting", Look.NUMBER),
)
STRAGGLERS: Final[Columns] = (
    OutputColumn("WORKER", "worker", Look.ID),
    OutputColumn("TIMES AS LONG", "factor", Look.NUMBER),
)
CLASS_CHANGES: Final[Columns] = (
    OutputColumn("AGE", "at", Look.AGE),
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("JOB", "job", Look.ID),
    OutputColumn("CLASS", "class", Look.ID),
    OutputColumn("EXPECTED", "expected_seconds", Look.SECONDS),
    OutputColumn("SLOW FROM", "threshold_seconds", Look.SECONDS),
    OutputColumn("REASON", "reason"),
)
FORECAST: Final[Columns] = (
    OutputColumn("", "measure", Look.ID),
    OutputColumn("NOW", "now", Look.NUMBER),
    OutputColumn("WHAT IF", "what_if", Look.NUMBER),
)
LATE: Final[Columns] = (
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("JOBS", "jobs", Look.NUMBER),
    OutputColumn("LATE NOW", "now", Look.NUMBER),
    OutputColumn("LATE WHAT IF", "what_if", Look.NUMBER),
)
SUMMARY: Final[Columns] = (
    OutputColumn("WINDOW", "window", Look.SECONDS),
    OutputColumn("RUNS", "runs", Look.NUMBER),
    OutputColumn("JOBS", "jobs", Look.NUMBER),
    OutputColumn("DONE", "done", Look.NUMBER),
    OutputColumn("ERROR", "error", Look.NUMBER),
    OutputColumn("CANCELLED", "cancelled", Look.NUMBER),
    OutputColumn("RETRIES", "retries", Look.NUMBER),
    OutputColumn("LOST", "lost", Look.NUMBER),
    OutputColumn("JOBS PER SECOND", "throughput", Look.NUMBER),
    OutputColumn("BUSY SLOTS", "busy_slots", Look.NUMBER),
)
SPREADS: Final[Columns] = (
    OutputColumn("CLASS", "class", Look.ID),
    OutputColumn("JOBS", "jobs", Look.NUMBER),
    OutputColumn("WAIT p50", "wait.p50", Look.SECONDS),
    OutputColumn("p95", "wait.p95", Look.SECONDS),
    OutputColumn("p99", "wait.p99", Look.SECONDS),
    OutputColumn("TAKES p50", "duration.p50", Look.SECONDS),
    OutputColumn("p95", "duration.p95", Look.SECONDS),
    OutputColumn("p99", "duration.p99", Look.SECONDS),
    OutputColumn("max", "duration.max", Look.SECONDS),
)
PIPELINE_STATS: Final[Columns] = (
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("RUNS", "runs", Look.NUMBER),
    OutputColumn("JOBS", "jobs", Look.NUMBER),
    OutputColumn("DONE", "done", Look.NUMBER),
    OutputColumn("ERROR", "error", Look.NUMBER),
    OutputColumn("CANCELLED", "cancelled", Look.NUMBER),
    OutputColumn("RETRIES", "retries", Look.NUMBER),
    OutputColumn("WAIT p50", "wait.p50", Look.SECONDS),
    OutputColumn("p95", "wait.p95", Look.SECONDS),
    OutputColumn("TAKES p50", "duration.p50", Look.SECONDS),
    OutputColumn("p95", "duration.p95", Look.SECONDS),
    OutputColumn("p99", "duration.p99", Look.SECONDS),
)
SLOW_TASKS: Final[Columns] = (
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("JOB", "job", Look.ID),
    OutputColumn("KIND", "kind", Look.ID),
    OutputColumn("CLASS", "class", Look.ID),
    OutputColumn("N", "n", Look.NUMBER),
    OutputColumn("ERRORS", "error_rate", Look.PERCENT),
    OutputColumn("MEAN", "mean", Look.SECONDS),
    OutputColumn("p95", "p95", Look.SECONDS),
    OutputColumn("p99", "p99", Look.SECONDS),
    OutputColumn("p95 GREW", "p95_delta", Look.SECONDS),
    OutputColumn("SLOT TIME", "slot_seconds", Look.SECONDS),
    OutputColumn("SHARE", "share", Look.PERCENT),
)
CLIENTS: Final[Columns] = (
    OutputColumn("CLIENT", "client_id", Look.ID),
    OutputColumn("ROLE", "role", Look.ID),
    OutputColumn("PRIORITY", "priority", Look.NUMBER),
    OutputColumn("MAX QUEUED", "max_queued", Look.NUMBER),
    OutputColumn("MAX RUNNING", "max_running", Look.NUMBER),
    OutputColumn("ENABLED", "enabled", Look.ID),
    OutputColumn("WAITING", "waiting", Look.NUMBER),
    OutputColumn("CREATED", "created_at", Look.AGE),
)
CLIENT_SECRET: Final[Columns] = (
    OutputColumn("CLIENT_ID", "client_id", Look.ID),
    OutputColumn("CLIENT_SECRET", "client_secret", Look.ID),
)
HOOKS: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("PIPELINE", "pipeline", Look.ID),
    OutputColumn("CLIENT", "client", Look.ID),
    OutputColumn("CREATED", "created_at", Look.AGE),
)
HOOK_URL: Final[Columns] = (OutputColumn("ID", "id", Look.ID), OutputColumn("URL", "url", Look.ID))
KINDS: Final[Columns] = (
    OutputColumn("KIND", "name", Look.ID),
    OutputColumn("VERSIONS", "versions", Look.ID),
    OutputColumn("RUNS ON", "runs_on", Look.ID),
    OutputColumn("SUMMARY", "summary"),
)
PARAMS: Final[Columns] = (
    OutputColumn("PARAM", "name", Look.ID),
    OutputColumn("REQUIRED", "required", Look.ID),
    OutputColumn("TYPE", "type", Look.ID),
    OutputColumn("DEFAULT", "default", Look.ID),
    OutputColumn("DESCRIPTION", "description"),
    OutputColumn("EXAMPLES", "examples"),
)
CHECKS: Final[Columns] = (
    OutputColumn("CHECK", "check", Look.ID),
    OutputColumn("OK", "ok", Look.ID),
    OutputColumn("DETAIL", "detail"),
)
MOVED: Final[Columns] = (
    OutputColumn("BUS", "bus"),
    OutputColumn("WAITING", "waiting", Look.NUMBER),
    OutputColumn("PLACED", "placed", Look.NUMBER),
    OutputColumn("OTHER", "other", Look.NUMBER),
)
DEAD_LETTERS: Final[Columns] = (
    OutputColumn("ID", "id", Look.ID),
    OutputColumn("TOPIC", "topic"),
    OutputColumn("PARTITION", "partition", Look.ID),
    OutputColumn("OFFSET", "offset", Look.ID),
    OutputColumn("WHEN", "at", Look.AGE),
    OutputColumn("KEY", "key"),
    OutputColumn("ERROR", "error"),
)
DEAD_LETTER: Final[Columns] = (
    *DEAD_LETTERS,
    OutputColumn("BYTES", "bytes", Look.BYTES),
    OutputColumn("ENCODING", "encoding"),
    OutputColumn("VALUE", "value"),
)
