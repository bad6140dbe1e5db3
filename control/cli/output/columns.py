"""Decides which fields of each thing a person sees first, and in which order."""

from collections.abc import Sequence
from typing import Final

from control.cli.output.formats import Column, Look

Columns = Sequence[Column]

PIPELINES: Final[Columns] = (
    Column("NAME", "name", Look.ID),
    Column("REVISION", "revision", Look.NUMBER),
    Column("JOBS", "jobs", Look.NUMBER),
    Column("STAGES", "stages"),
    Column("CLIENT", "client", Look.ID),
    Column("UPDATED", "updated_at", Look.AGE),
    Column("DESCRIPTION", "description"),
)
RUNS: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("PIPELINE", "pipeline", Look.ID),
    Column("REV", "revision", Look.NUMBER),
    Column("STATE", "state", Look.STATE),
    Column("TRIGGER", "trigger", Look.ID),
    Column("CLIENT", "client", Look.ID),
    Column("AGE", "created_at", Look.AGE),
    Column("TOOK", "", Look.TOOK),
    Column("REASON", "reason"),
)
RUN: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("PIPELINE", "pipeline"),
    Column("REVISION", "revision", Look.NUMBER),
    Column("STATE", "state", Look.STATE),
    Column("REASON", "reason"),
    Column("CLIENT", "client"),
    Column("TRIGGER", "trigger"),
    Column("SCHEDULE", "schedule_id", Look.ID),
    Column("SCHEDULED FOR", "scheduled_for", Look.AGE),
    Column("JOB OF RUN", "parent_run_id", Look.ID),
    Column("PRIORITY", "priority", Look.NUMBER),
    Column("INPUT", "input"),
    Column("ALLOWED FAILURES", "allowed_failures", Look.NUMBER),
    Column("CREATED", "created_at", Look.AGE),
    Column("STARTED", "started_at", Look.AGE),
    Column("FINISHED", "finished_at", Look.AGE),
    Column("TOOK", "", Look.TOOK),
)
JOBS: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("JOB", "name", Look.ID),
    Column("STAGE", "stage", Look.ID),
    Column("KIND", "kind", Look.ID),
    Column("STATE", "state", Look.STATE),
    Column("TRY", "attempt", Look.NUMBER),
    Column("WORKER", "worker", Look.ID),
    Column("TOOK", "", Look.TOOK),
    Column("REASON", "reason"),
)
JOB: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("RUN", "run_id", Look.ID),
    Column("NAME", "name"),
    Column("STAGE", "stage"),
    Column("KIND", "kind"),
    Column("VERSION", "version"),
    Column("STATE", "state", Look.STATE),
    Column("REASON", "reason"),
    Column("ERROR", "error"),
    Column("EXIT CODE", "exit_code", Look.NUMBER),
    Column("PRIORITY", "priority", Look.NUMBER),
    Column("ATTEMPT", "attempt", Look.NUMBER),
    Column("RETRIES", "retry_attempt", Look.NUMBER),
    Column("WORKER", "worker"),
    Column("PARTITION", "partition", Look.ID),
    Column("CHILD RUN", "child_run_id", Look.ID),
    Column("PROGRESS", "progress", Look.PERCENT),
    Column("OUTPUT", "output"),
    Column("LOG", "log_bytes", Look.BYTES),
    Column("CREATED", "created_at", Look.AGE),
    Column("READY", "ready_at", Look.AGE),
    Column("STARTED", "started_at", Look.AGE),
    Column("FINISHED", "finished_at", Look.AGE),
    Column("TOOK", "", Look.TOOK),
)
ATTEMPTS: Final[Columns] = (
    Column("ATTEMPT", "attempt", Look.NUMBER),
    Column("OUTCOME", "outcome", Look.ID),
    Column("WORKER", "worker", Look.ID),
    Column("TOOK", "", Look.TOOK),
    Column("EXIT", "exit_code", Look.NUMBER),
    Column("ERROR", "error"),
)
SCHEDULES: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("PIPELINE", "pipeline", Look.ID),
    Column("CRON", "spec.cron", Look.ID),
    Column("TIMEZONE", "spec.timezone", Look.ID),
    Column("ENABLED", "spec.enabled"),
    Column("PAUSED", "paused"),
    Column("NEXT", "next_at", Look.AGE),
    Column("NEXT AT", "next_at", Look.ID),
    Column("TAKES", "expected_seconds", Look.SECONDS),
    Column("WHY NOT", "reason"),
)
PLANNED: Final[Columns] = (
    Column("NOMINAL", "nominal", Look.ID),
    Column("DUE", "due", Look.AGE),
    Column("SCHEDULE", "schedule_id", Look.ID),
    Column("PIPELINE", "pipeline", Look.ID),
    Column("WAITING", "waiting"),
    Column("BACKFILL", "backfill"),
    Column("TAKES", "expected_seconds", Look.SECONDS),
)
TIMES: Final[Columns] = (
    Column("UTC", "nominal", Look.ID),
    Column("LOCAL", "local", Look.ID),
    Column("WHEN", "nominal", Look.AGE),
)
WORKERS: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("STATE", "state", Look.ID),
    Column("HOST", "host", Look.ID),
    Column("RUNNING", "running", Look.COUNT),
    Column("SLOTS", "slots", Look.NUMBER),
    Column("LABELS", "labels"),
    Column("KINDS", "kinds", Look.KEYS),
    Column("CONNECTED", "connected_at", Look.AGE),
    Column("REASON", "reason"),
)
PARTITIONS: Final[Columns] = (
    Column("PARTITION", "partition", Look.NUMBER),
    Column("CLASS", "class", Look.ID),
    Column("SLOTS", "slots", Look.NUMBER),
    Column("RUNNING", "running", Look.NUMBER),
    Column("DEPTH", "depth", Look.NUMBER),
    Column("EXPECTED", "expected_seconds", Look.SECONDS),
    Column("AHEAD", "ahead_seconds", Look.SECONDS),
    Column("WINDOW", "window_seconds", Look.SECONDS),
    Column("OLDEST", "oldest_age_seconds", Look.SECONDS),
    Column("WORKERS", "workers"),
)
RULES: Final[Columns] = (
    Column("SLOW PARTITIONS, %", "slow", Look.NUMBER),
    Column("FOLLOWS THE MIX", "slow_auto"),
    Column("SLOW FROM", "threshold_seconds", Look.SECONDS),
    Column("LEARNED", "threshold_auto"),
    Column("LEND", "lend"),
    Column("SLOTS", "slots", Look.NUMBER),
    Column("KEPT FREE OF SLOW JOBS", "reserve", Look.NUMBER),
    Column("SLOW RUNNING", "slow_running", Look.NUMBER),
    Column("WAITING", "waiting", Look.NUMBER),
)
STRAGGLERS: Final[Columns] = (
    Column("WORKER", "worker", Look.ID),
    Column("TIMES AS LONG", "factor", Look.NUMBER),
)
CLASS_CHANGES: Final[Columns] = (
    Column("AGE", "at", Look.AGE),
    Column("PIPELINE", "pipeline", Look.ID),
    Column("JOB", "job", Look.ID),
    Column("CLASS", "class", Look.ID),
    Column("EXPECTED", "expected_seconds", Look.SECONDS),
    Column("SLOW FROM", "threshold_seconds", Look.SECONDS),
    Column("REASON", "reason"),
)
FORECAST: Final[Columns] = (
    Column("", "measure", Look.ID),
    Column("NOW", "now", Look.NUMBER),
    Column("WHAT IF", "what_if", Look.NUMBER),
)
LATE: Final[Columns] = (
    Column("PIPELINE", "pipeline", Look.ID),
    Column("JOBS", "jobs", Look.NUMBER),
    Column("LATE NOW", "now", Look.NUMBER),
    Column("LATE WHAT IF", "what_if", Look.NUMBER),
)
SUMMARY: Final[Columns] = (
    Column("WINDOW", "window", Look.SECONDS),
    Column("RUNS", "runs", Look.NUMBER),
    Column("JOBS", "jobs", Look.NUMBER),
    Column("DONE", "done", Look.NUMBER),
    Column("ERROR", "error", Look.NUMBER),
    Column("CANCELLED", "cancelled", Look.NUMBER),
    Column("RETRIES", "retries", Look.NUMBER),
    Column("LOST", "lost", Look.NUMBER),
    Column("JOBS PER SECOND", "throughput", Look.NUMBER),
    Column("BUSY SLOTS", "busy_slots", Look.NUMBER),
)
SPREADS: Final[Columns] = (
    Column("CLASS", "class", Look.ID),
    Column("JOBS", "jobs", Look.NUMBER),
    Column("WAIT p50", "wait.p50", Look.SECONDS),
    Column("p95", "wait.p95", Look.SECONDS),
    Column("p99", "wait.p99", Look.SECONDS),
    Column("TAKES p50", "duration.p50", Look.SECONDS),
    Column("p95", "duration.p95", Look.SECONDS),
    Column("p99", "duration.p99", Look.SECONDS),
    Column("max", "duration.max", Look.SECONDS),
)
PIPELINE_STATS: Final[Columns] = (
    Column("PIPELINE", "pipeline", Look.ID),
    Column("RUNS", "runs", Look.NUMBER),
    Column("JOBS", "jobs", Look.NUMBER),
    Column("DONE", "done", Look.NUMBER),
    Column("ERROR", "error", Look.NUMBER),
    Column("CANCELLED", "cancelled", Look.NUMBER),
    Column("RETRIES", "retries", Look.NUMBER),
    Column("WAIT p50", "wait.p50", Look.SECONDS),
    Column("p95", "wait.p95", Look.SECONDS),
    Column("TAKES p50", "duration.p50", Look.SECONDS),
    Column("p95", "duration.p95", Look.SECONDS),
    Column("p99", "duration.p99", Look.SECONDS),
)
SLOW_TASKS: Final[Columns] = (
    Column("PIPELINE", "pipeline", Look.ID),
    Column("JOB", "job", Look.ID),
    Column("KIND", "kind", Look.ID),
    Column("CLASS", "class", Look.ID),
    Column("N", "n", Look.NUMBER),
    Column("ERRORS", "error_rate", Look.PERCENT),
    Column("MEAN", "mean", Look.SECONDS),
    Column("p95", "p95", Look.SECONDS),
    Column("p99", "p99", Look.SECONDS),
    Column("p95 GREW", "p95_delta", Look.SECONDS),
    Column("SLOT TIME", "slot_seconds", Look.SECONDS),
    Column("SHARE", "share", Look.PERCENT),
)
CLIENTS: Final[Columns] = (
    Column("CLIENT", "client_id", Look.ID),
    Column("ROLE", "role", Look.ID),
    Column("PRIORITY", "priority", Look.NUMBER),
    Column("MAX QUEUED", "max_queued", Look.NUMBER),
    Column("MAX RUNNING", "max_running", Look.NUMBER),
    Column("ENABLED", "enabled", Look.ID),
    Column("WAITING", "waiting", Look.NUMBER),
    Column("CREATED", "created_at", Look.AGE),
)
CLIENT_SECRET: Final[Columns] = (
    Column("CLIENT_ID", "client_id", Look.ID),
    Column("CLIENT_SECRET", "client_secret", Look.ID),
)
HOOKS: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("PIPELINE", "pipeline", Look.ID),
    Column("CLIENT", "client", Look.ID),
    Column("CREATED", "created_at", Look.AGE),
)
HOOK_URL: Final[Columns] = (Column("ID", "id", Look.ID), Column("URL", "url", Look.ID))
KINDS: Final[Columns] = (
    Column("KIND", "name", Look.ID),
    Column("VERSIONS", "versions", Look.ID),
    Column("RUNS ON", "runs_on", Look.ID),
    Column("SUMMARY", "summary"),
)
PARAMS: Final[Columns] = (
    Column("PARAM", "name", Look.ID),
    Column("REQUIRED", "required", Look.ID),
    Column("TYPE", "type", Look.ID),
    Column("DEFAULT", "default", Look.ID),
    Column("DESCRIPTION", "description"),
    Column("EXAMPLES", "examples"),
)
CHECKS: Final[Columns] = (
    Column("CHECK", "check", Look.ID),
    Column("OK", "ok", Look.ID),
    Column("DETAIL", "detail"),
)
MOVED: Final[Columns] = (
    Column("BUS", "bus"),
    Column("WAITING", "waiting", Look.NUMBER),
    Column("PLACED", "placed", Look.NUMBER),
    Column("OTHER", "other", Look.NUMBER),
)
DEAD_LETTERS: Final[Columns] = (
    Column("ID", "id", Look.ID),
    Column("TOPIC", "topic"),
    Column("PARTITION", "partition", Look.ID),
    Column("OFFSET", "offset", Look.ID),
    Column("WHEN", "at", Look.AGE),
    Column("KEY", "key"),
    Column("ERROR", "error"),
)
DEAD_LETTER: Final[Columns] = (
    *DEAD_LETTERS,
    Column("BYTES", "bytes", Look.BYTES),
    Column("ENCODING", "encoding"),
    Column("VALUE", "value"),
)
