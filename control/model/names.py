"""Owns the names other programs see: topics, groups, environment variables, entry points."""

from enum import StrEnum
from typing import Final


class Topic(StrEnum):
    """The bus's topics; the comment says who writes and who reads."""

    TASK_RUNS = "task_runs"  # State's owner -> balancer; key: run id.
    TASK_RUNS_LOAD_BALANCED = "task_runs_load_balanced"  # Balancer -> dispatcher; by partition.
    TASK_RUN_EVENTS = "task_run_events"  # Dispatcher -> trigger.
    TASK_RUN_RESULTS = "task_run_results"  # Dispatcher -> trigger, balancer, statistics.
    QUERY_TASK_RUN_RESULTS = "query_task_run_results"  # The same results, of kind Query.
    NOTIFICATION_TASK_RUN_RESULTS = "notification_task_run_results"  # Of kind Notification.
    TASK_RUN_LOGS = "task_run_logs"  # Dispatcher -> job logs; never stored on the embedded bus.
    TASK_COMMANDS = "task_commands"  # State's owner -> balancer, dispatcher.
    TASK_NEWS = "task_news"  # What the parts tell each other of themselves; only tailed.
    TASK_DEAD_LETTERS = "task_dead_letters"  # Records nobody could read; on Kafka only.


class Group(StrEnum):
    """The bus's consumer groups: one for each service."""

    BALANCER = "balancer"
    DISPATCHER = "dispatcher"
    TRIGGER = "trigger"
    STATISTICS = "statistics"


class Service(StrEnum):
    """What `--services` takes. `scheduler` is the planner with the publisher."""

    API = "api"
    SCHEDULER = "scheduler"
    TRIGGER = "trigger"
    STATISTICS = "statistics"
    BALANCER = "balancer"
    DISPATCHER = "dispatcher"


class Change(StrEnum):
    """Kinds of changes in the state database that services there can wait for."""

    SCHEDULES = "schedules"  # A schedule itself, or a run of one has ended.
    PLAN = "plan"  # The next planned run.
    JOBS = "jobs"  # The state of a job, after what its workers reported.
    NOTICES = "notices"  # A run has ended whose pipeline has `notify`.


CHILD_KIND: Final = "Pipeline"  # Jobs of it are runs of other pipelines.
NOTICE_KIND: Final = "Notification"
KINDS_ENTRY_POINTS: Final = "taskplane.kinds"

# Environment variables users set.
ENV_DATA_DIR: Final = "TP_DATA_DIR"
ENV_URL: Final = "TP_URL"
ENV_CLIENT_ID: Final = "TP_CLIENT_ID"
ENV_CLIENT_SECRET: Final = "TP_CLIENT_SECRET"
ENV_CREDENTIALS: Final = "TP_CREDENTIALS_FILE"  # A worker's, instead of those two.
ENV_WORKER_CONFIG: Final = "TP_WORKER_CONFIG"
ENV_WORKER_ISOLATION: Final = "TP_WORKER_ISOLATION"
ENV_CONFIG_HOME: Final = "XDG_CONFIG_HOME"
ENV_STATE_HOME: Final = "XDG_STATE_HOME"
ENV_STATE_DIRECTORY: Final = "STATE_DIRECTORY"  # systemd's: of a unit with StateDirectory=.
ENV_PASS: Final = "TP_PASS_ENV"  # Which of a worker's variables its jobs get besides.

# Environment variables a job sees.
ENV_INPUT: Final = "TP_INPUT"
ENV_OUTPUT: Final = "TP_OUTPUT"
ENV_PROGRESS: Final = "TP_PROGRESS"
ENV_MARK: Final = "TP_WORKER_MARK"  # Whose processes they are, if their worker dies.
ENV_VALUE_PREFIX: Final = "TP_VALUE_"  # A value that a template inserts into a Shell command.

STATE_FILE: Final = "state.db"
RESTORE_FILE: Final = "restoring"  # Is there while a backup is being put into a data directory.
EPOCH_FILE: Final = "epoch"  # How far the state has come; a backup of the state lacks it.
FACTS_FILE: Final = "facts.duckdb"
CREDENTIALS_FILE: Final = "credentials.toml"
RESULTS_FILE: Final = "results.jsonl"  # A worker's, unsent.


class Metric(StrEnum):
    """What `GET /metrics` gives."""

    JOBS = "taskplane_jobs"  # Attempts that ended, by outcome and class.
    DURATION = "taskplane_job_duration_seconds"
    WAIT = "taskplane_job_wait_seconds"
    WAITING = "taskplane_jobs_waiting"
    RUNNING = "taskplane_jobs_running"
    OPEN_RUNS = "taskplane_runs_open"
    WORKERS = "taskplane_workers"
    SLOTS = "taskplane_slots"
    REQUESTS = "taskplane_http_requests"
    STREAMS = "taskplane_event_streams"
    # Counted by other parts, and handed to the API.
    COMMITS = "taskplane_store_commits"
    REFUSED = "taskplane_results_refused"
    LEASES = "taskplane_leases"
    OUTBOX = "taskplane_outbox_rows"
    LAG = "taskplane_bus_unfinished_records"  # By group and topic.
    TRIGGERS_REFUSED = "taskplane_triggers_refused"
    LIMITED = "taskplane_limited"  # What a bound delayed or refused, by bound and effect.


class Bound(StrEnum):
    """What clients share; each has a bound (docs/operating.md, "Fair use")."""

    API_CONNECTIONS = "api_connections"
    GATEWAY_CONNECTIONS = "gateway_connections"
    REQUEST_PACE = "request_pace"  # Heads and bodies that arrive too slowly.
    BODIES = "bodies"
    ANSWERS = "answers"
    LOGINS = "logins"
    QUERIES = "queries"
    REPORTS = "reports"
    EXPORTS = "exports"
    PARSING = "parsing"
    BULK = "bulk"
    FOLLOWERS = "log_followers"
    EVENT_STREAMS = "event_streams"
    FRAMES = "frames"  # Of websockets.
    ORIGINS = "origins"


class Effect(StrEnum):
    """What a bound did to a request or connection."""

    DELAYED = "delayed"
    REFUSED = "refused"


BACKUPS_FOLDER: Final = "backups"
LOGS_FOLDER: Final = "logs"
