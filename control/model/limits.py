"""Owns every limit; a queue, body, name, retry, or wait without a line here is a bug."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# What clients send.
BODY_BYTES_MAX: Final = 16 * MIB
PIPELINE_BYTES_MAX: Final = 1 * MIB
YAML_DEPTH_MAX: Final = 64
YAML_NODES_MAX: Final = 100_000  # After aliases are expanded: what a YAML bomb makes grow.
PIPELINE_JOBS_MAX: Final = 1_000
PIPELINE_STAGES_MAX: Final = 100
PIPELINE_SCHEDULES_MAX: Final = 100
PIPELINE_TRIGGERS_MAX: Final = 100
PIPELINE_NOTICES_MAX: Final = 20
TRIGGER_DEPTH_MAX: Final = 32  # Pipelines that trigger each other in a circle end here.
FAMILY_RUNS_MAX: Final = 10_000  # Runs that one run may have started, through all its triggers.
TRIGGERS_LOGGED_EVERY_S: Final = 60.0  # How often triggers that started nothing are logged.
NAME_CHARS_MAX: Final = 128
TEXT_CHARS_MAX: Final = 4_096
PROBLEMS_MAX: Final = 1_000  # Listed of one input; the rest is only said to exist.
ENV_VARS_MAX: Final = 1_000
LABELS_MAX: Final = 100
PRIORITY_ABS_MAX: Final = 1_000_000
RETRY_ATTEMPT_MAX: Final = 1_000
SECONDS_MAX: Final = 10 * 366 * 86_400
NUMBER_MAX: Final = 2**53  # What JSON carries exactly, and any database.
INPUT_BYTES_MAX: Final = 1 * MIB
FORM_FIELDS_MAX: Final = 1_000  # Of a form that a hook receives.
OUTPUT_BYTES_MAX: Final = 1 * MIB
OUTPUT_ROWS_DEFAULT: Final = 1_000  # Of a Query, if the job does not say how many;
OUTPUT_ROWS_MAX: Final = 1_000_000  # and what it may say.
DETAIL_ROWS_MAX: Final = 10  # The first rows, in the topic of its results,
DETAIL_BYTES_MAX: Final = 16 * KIB  # and their bytes.
VALUE_DEPTH_MAX: Final = 256  # Levels of a job's output.
JOB_INPUT_BYTES_MAX: Final = 8 * MIB  # A run's input and all outputs a job waited for, together.
ENV_VALUE_BYTES_MAX: Final = 126 * KIB  # Linux takes 128 KiB, with the variable's name.
COMMAND_CHARS_MAX: Final = 32 * KIB  # Of a Shell command with templates: each is parsed.
COMMAND_TEMPLATES_MAX: Final = 200
COMMAND_WORDS_MAX: Final = 400  # Of one of its simple commands, if it has templates,
COMMAND_INTERPRETERS_MAX: Final = 16  # and words of it that may be an interpreter's name.
COMMANDS_CACHED_MAX: Final = 256  # Commands whose templates' surroundings are known.
SHELL_DEPTH_MAX: Final = 200  # Levels of syntax around a template.
BATCH_RUNS_MAX: Final = 2_000  # What all others wait for: some 0.3 s of the writer.
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 1_000
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
IDEMPOTENCY_TTL_MS: Final = 24 * 3_600_000

# Queues between our own parts.
QUEUE_SIZE_DEFAULT: Final = 100_000
QUEUE_HEADROOM_PART: Final = 10  # Beyond QUEUE_SIZE: one such part of it,
QUEUE_HEADROOM_MIN: Final = 20  # and at least so many jobs, for clients with little waiting.
RETRY_AFTER_S: Final = 5  # What a client is told to wait when a queue is full.
WRITER_QUEUE_MAX: Final = 10_000
WRITER_GROUP_MAX: Final = 512
SUBSCRIPTION_RECORDS_MAX: Final = 200_000  # Read-ahead of one subscription, in records.
RECEIVE_RECORDS_MAX: Final = 2_000
BUS_ROW_RECORDS_MAX: Final = 256  # In one row of the bus's log,
BUS_ROW_BYTES_MAX: Final = 32 * MIB  # and their bytes, unless it is a single one.
# Kafka.
SESSION_S: Final = 6.0  # A process that says nothing for so long loses its partitions.
REBALANCE_S: Final = 30.0  # So long a group waits for members that a broker takes for living.
TRANSACTION_S: Final = 10.0  # So long may a dead process's transaction hold up its readers.
KAFKA_CALL_S: Final = 5.0  # One try of a call that needs an answer.
KAFKA_RETRY_MAX_S: Final = 5.0  # Between two tries while no broker answers; from a tenth, doubled.
KAFKA_GUARD_S: Final = 1.0  # Between two looks whether a topic was deleted.
KAFKA_POLL_S: Final = 0.1  # How soon a reading thread sees that it shall end.
RECORD_BYTES_MAX: Final = 20 * MIB  # A job's whole input, its params, and its output.
PROGRESS_CHARS_MAX: Final = 4_000  # A group's progress in a commit; brokers allow 4,096.
UNHURRIED_S: Final = 0.1  # How long records and progress that nobody waits for may gather.
OUTBOX_ROWS_MAX: Final = 4_096  # Kept in memory too; beyond that they are read back.
START_OVER_S: Final = 0.1  # Before a service that was taken for dead takes its place again.
PURGE_EVERY_S: Final = 600.0
# Moving jobs to another bus: how long
MOVE_REACH_S: Final = 8.0  # a cluster may take to answer,
MOVE_LEAVE_S: Final = 8.0  # a process that has died may still seem to be there,
MOVE_SETTLE_S: Final = 30.0  # its transaction may be open,
MOVE_DRAIN_S: Final = 300.0  # results may take to be counted,
MOVE_RELAY_S: Final = 300.0  # and what waits may take to be published.
DEAD_LETTER_BYTES_MAX: Final = 64 * KIB  # Stored of a record that no reader could use.
DEAD_LETTERS_SHOWN_MAX: Final = 20

EVENTS_PER_SECOND_MAX: Final = 10
EVENT_STREAMS_MAX: Final = 64
LISTENERS_CHECKED_S: Final = 30.0  # Whether a listener may still listen.
FRAME_BYTES_MAX: Final = 32 * MIB
RECEIVE_BUFFER_BYTES: Final = 256 * KIB
# What is ready goes out in messages of about this size, and messages in pieces of that: what is
# urgent waits for one of them at most.
MESSAGE_BYTES: Final = 64 * KIB
PIECE_BYTES: Final = 16 * KIB
FIRST_MESSAGE_BYTES: Final = 8 * KIB  # Until a link has brought something to its end.
RESULT_BYTES_MAX: Final = 2 * MIB  # Of a result's frame, with its output.
PARTS_BYTES_MAX: Final = 64 * MIB  # Of results that come in parts, at a gateway,
PART_BYTES_MIN: Final = 16 * KIB  # each of which counts as so many more.
LIFE_BYTES_MIN: Final = 1 * KIB  # Of a message that is arriving: so much more is a sign of life.
FRAME_MESSAGES_MAX: Final = 2_000
ARRIVALS_MAX: Final = 64  # Messages of workers that the dispatcher has not read yet.

# Leases, workers.
HEARTBEAT_S: Final = 2.0
QUIET_S: Final = 3.0  # A worker that says nothing for so long is spoken of,
SILENCE_S: Final = 10.0  # and one that says nothing for so long is lost.
CLOCK_SAMPLES: Final = 16  # Of a worker's clock: its last heartbeats.
CLOCK_SKEW_MIN_MS: Final = 50  # Smaller differences of clocks are left alone.
RECONNECT_GRACE_S: Final = 0.5  # A worker whose socket closed has so long to come back.
RESTART_GRACE_S: Final = 2.0  # After a start: how long workers have to claim what they run.
CLAIM_GRACE_S: Final = (
    30.0  # Of what a worker claims: until its former dispatcher's end is noticed.
)
ATTEMPT_LOST_MAX: Final = 5  # A job that loses this many workers ends in ERROR.
OVERRUN_S: Final = 0.25  # What was sent ahead and has not begun by then is called back.
SLOTS_MAX: Final = 4_096
PARTITIONS_MAX: Final = 10_000
DISPATCHERS_MAX: Final = 1_000  # Names remembered; of those that serve nothing, the newest.
PORT_MAX: Final = 65_535
TIME_MS_MAX: Final = 253_402_300_799_999  # The last instant that RFC 3339 can write.
PREFETCH_JOBS_MAX: Final = 512  # A worker's jobs assigned beyond its free slots.
ACK_S: Final = 5.0
GRACE_S: Final = 10.0
SPAWNER_READS_S: Final = 10.0  # Until what starts processes has read an order, or is killed.
ENGINE_CALL_S: Final = 30.0  # A short command of a container engine; not pulls, nor what it runs.
SHELL_KILL_S: Final = 5.0  # Between SIGTERM and SIGKILL of a job's process group.
RECONNECT_MIN_S: Final = 0.1  # A worker's pause after the first failed connection; then doubled.
RECONNECT_MAX_S: Final = 1.0  # Less than RESTART_GRACE_S, so that its leases are still there.
SICK_MIN_S: Final = 1.0  # A worker that could not start an attempt tries again; then doubled,
SICK_MAX_S: Final = 60.0  # to this; from the beginning when one has started.
SPOOL_BYTES_MAX: Final = 16 * MIB  # Acknowledged results a spool may hold until it is rewritten.
SLOT_BURST_S: Final = 0.005  # How long one slot may work off jobs that never wait.
PYTHON_IDLE_MAX: Final = 32  # Child interpreters kept for the next call.
WORKER_AGAIN_MIN_S: Final = 0.2  # Before the local worker is started again; then doubled,
WORKER_AGAIN_MAX_S: Final = 30.0  # to this; from the beginning when it has lived longer.
WORKER_NAMES_MAX: Final = 64  # Workers of one host that take numbered names by themselves.
HTTP_CONNECT_S: Final = 30.0
SQL_CONNECT_S: Final = 10.0  # Until a database has accepted a connection.
SQL_CANCEL_S: Final = 2.0  # Until a server has taken an order to cancel a statement,
SQL_STOP_S: Final = 3.0  # and until the statement has ended: then its connection is broken,
SQL_SEVER_S: Final = 1.0  # and after that its thread is left alone.
SQL_CLIENT_GONE_MS: Final = 2_000  # How soon PostgreSQL sees that a worker was killed.
SQL_PROGRESS_S: Final = 1.0  # How often a driver that knows of progress is asked for it.
SQL_ROWS_AT_ONCE: Final = 100  # Taken from a driver.
NOTICE_CHARS_MAX: Final = 1 * MIB  # JSON may escape each as six bytes, within JOB_INPUT_BYTES_MAX.
NOTICE_LINES_MAX: Final = 10  # Of a failed job's log, in the notice of its run,
NOTICE_LINE_CHARS_MAX: Final = 200  # of each of them,
NOTICE_ERROR_CHARS_MAX: Final = 1_000  # and of its error.
NOTICE_LOG_BYTES: Final = 16_384  # Of the end of the log that its lines are from.
NOTICE_LOG_S: Final = 5.0  # How long a notice waits for the end of the log.
NOTICE_AGAIN_S: Final = 5.0  # When it is tried again after the queue was full.
NOTICE_RETRIES: Final = 3  # Of a notice that was not delivered,
NOTICE_RETRY_S: Final = 30.0  # the first after so long.
NOTICE_PORTION: Final = 16  # Read at a time, and made side by side: their logs may be late.
NOTIFY_S: Final = 60.0  # Until a service has taken a message.
HTTP_INTERVAL_MIN_S: Final = 0.1  # Between an answer and the next request of `until`.
PROGRESS_EVERY_S: Final = 0.2  # How often what a job writes to $TP_PROGRESS is read, at most.

# Kubernetes.
KUBERNETES_CONNECT_S: Final = 10.0
KUBERNETES_LOGIN_S: Final = 30.0  # For a kubeconfig, and its plugin, to give credentials.
KUBERNETES_ANSWER_S: Final = 30.0  # Between two pieces of an answer.
KUBERNETES_TRIES: Final = 4  # Of a request that fails for a passing reason,
KUBERNETES_PAUSE_MIN_S: Final = 0.2  # with this pause after the first; then doubled,
KUBERNETES_PAUSE_MAX_S: Final = 10.0  # to this, where there is no end to the tries: of watches.
KUBERNETES_WATCH_S: Final = 240  # The API server ends a watch after so long; it is begun again.
KUBERNETES_LOGS_MAX: Final = 16  # Containers of one attempt whose logs are read at a time.
KUBERNETES_LOGS_END_S: Final = 30.0  # How long the rest of the logs may take after the end.
KUBERNETES_DELETE_S: Final = 10.0  # How long a cancelled attempt waits until its Job is gone.
KUBERNETES_START_S: Final = 300.0  # How long a pod may be unable to start, unless a job says so.
ISOLATION_CHARS_MAX: Final = 256  # Of a line in which a worker says what its jobs can reach,
ISOLATION_LINES_MAX: Final = 16  # and such lines of one kind.

# Logs of attempts.
LOG_LINE_BYTES_MAX: Final = 16 * KIB
LOG_ATTEMPT_BYTES_MAX: Final = 4 * MIB
LOG_TAIL_BYTES_MAX: Final = 512 * KIB  # Of that, the end of a log that is longer; a worker has it
# in memory until its attempt ends. Between head and end there is room for words.
LOG_HEAD_BYTES_MAX: Final = LOG_ATTEMPT_BYTES_MAX - LOG_TAIL_BYTES_MAX - 4 * KIB
LOG_CHUNK_BYTES_MAX: Final = 64 * KIB
LOG_OFFSET_MAX: Final = 10**15 - 1  # What the line about a gap in a log can say.
LOG_BUFFER_BYTES_MAX: Final = 8 * MIB  # A worker's log text that the gateway has not taken yet.
LOG_FLUSH_S: Final = 0.1
LOG_WAIT_S: Final = 0.5  # How long a job waits for room in that buffer before its text is dropped.

# The planner.
PLAN_AHEAD_MS: Final = 48 * 3_600_000
PLANNED_ROWS_MAX: Final = 10_000  # Of one schedule: a cron of seconds is planned less far ahead.
PLAN_NEAR_MS: Final = 120_000  # So much of all schedules is planned before more of any.
PLAN_SKIP_MS: Final = 24 * 3_600_000  # Where nothing fires, a plan reaches further by so much.
PLAN_ROWS_MAX: Final = 2_000  # Planned in one transaction: about 25 ms,
PLAN_SCHEDULES_MAX: Final = 100  # and of so many schedules.
MISSED_ALL_MAX: Final = 10_000  # `missed: all`, beyond what was planned before the outage.
BACKFILL_MAX: Final = 1_000
DAY_MS: Final = 86_400_000
PRUNE_EVERY_S: Final = 3_600.0
PRUNE_PORTION_MAX: Final = 200
PLAN_EVERY_S: Final = 60.0  # How often the planner moves the 48 h on.
LATE_MAX_MS: Final = 60_000  # Started later than this: it was missed.
LATE_PART: Final = 10  # Of what was due in an outage: not missed by such a part of its period.
OUTAGE_MIN_MS: Final = 10_000  # The publisher was so late: that was an outage.
OVERLAP_SETTLE_MS: Final = 3_000  # RESTART_GRACE_S, and until a result that comes then has counted.
PUBLISH_PORTION_MAX: Final = 500  # Runs started in one transaction,
PUBLISH_EACH_MAX: Final = 100  # and of one schedule.
CLOCK_LOOK_S: Final = 30.0  # A sleep until an instant looks at the clock so often: it may jump.
CLOCK_WATCH_S: Final = 1.0  # How often the wall clock is compared with the steady one.
CLOCK_STEP_MIN_MS: Final = 1_000  # Smaller differences are corrections, and ignored.
CLOCK_STEPS_KEPT: Final = 20  # Shown by `tpctl doctor` for a day.

# Statistics.
FACTS_BATCH_MAX: Final = 4_000  # Facts that start a flush before its second is over.
FACTS_FLUSH_S: Final = 1.0
FACTS_RETRY_S: Final = 1.0  # Between tries while the file of facts cannot be written.
FACT_ERROR_CHARS_MAX: Final = 200
FACTS_MEMORY_BYTES_MAX: Final = 128 * MIB
FACTS_SPILL_BYTES_MAX: Final = 1024 * MIB  # On disk, when a report needs more memory than that.
REPORT_ROWS_MAX: Final = 1_000
QUERY_ROWS_MAX: Final = 10_000
QUERY_S: Final = 10.0
QUERY_CHARS_MAX: Final = 100_000
WARM_KEYS_MAX: Final = 10_000  # Pairs of pipeline and job the balancer learns from at its start,
WARM_DURATIONS_MAX: Final = 64  # and durations of each.
WINDOW_S_MAX: Final = 366 * 86_400
TREND_BUCKETS: Final = 24

# The API, and what it reads.
READERS_MAX: Final = 4  # Read connections, each in a thread while it works.
FILTERED_ROWS_MAX: Final = 10_000  # Runs that `tpctl run list --filter` asks for to look at.
SCANNED_ROWS_MAX: Final = 20_000  # Rows one page of a filtered list may look at.
PLAN_STRETCH_MIN_S: Final = 600  # So that 48 hours have 289 stretches at most.
PLAN_STRETCHED_MAX: Final = 100  # Schedules in one answer that has their stretches.
PLAN_NEXT_MAX: Final = 20
PLANS_KEPT_MAX: Final = 16  # Plans in short that are given again,
PLANS_EVERY_S: Final = 5.0  # for so long: consoles ask for them every 15 s.
FORECAST_RUNS_MAX: Final = 200_000  # Planned runs that a forecast counts; it ends after them.
FORECAST_BUCKETS_MAX: Final = 1_000
EXPECTED_JOBS_MAX: Final = 20_000  # Jobs whose expected seconds one call looks for.
PAGE_BYTES_MAX: Final = 4 * MIB  # Of inputs or outputs in one page; then it ends early.
OUTLINES_MAX: Final = 2_000  # Revisions whose job names and stages are kept decoded.
SECRET_CHARS_MAX: Final = 256
AUTH_CACHE_S: Final = 60.0
AUTH_CACHE_MAX: Final = 1_000
HASHES_MAX: Final = 2  # Secrets hashed at once: each takes a core and 16 MiB.
HASHES_WAITING_MAX: Final = 100
HOOKS_PER_PIPELINE_MAX: Final = 100
GONE_WORKERS_MAX: Final = 1_000
GONE_WORKERS_MS: Final = 600_000  # How long one that is gone is still listed.
CHANGED_RUNS_MAX: Final = 200  # Read for one frame of events; the newest,
SENT_KEPT_MAX: Final = 2_000  # Runs, and jobs, of which it is known what was sent last.
NEW_RUNS_MAX: Final = 50  # of these so many at most that nobody asked for by name,
CHANGED_JOBS_MAX: Final = 500  # and jobs.
EVENT_ROWS_PER_SECOND_MAX: Final = 200  # Of both: frames with many rows come less often.
EVENT_GATHER_S: Final = 0.05  # After a message its run is read so much later: it is stored by then.
WATCH_RUNS_MAX: Final = 500  # That one listener asks for by name.
WATCH_BYTES_MAX: Final = 16 * KIB
PULSE_MS: Final = 10_000
PULSES_KEPT: Final = 91  # 15 minutes, and the one under way.
NOTES_KEPT: Final = 100
NOTES_IN_FRAME_MAX: Final = 20
NOTES_PER_SECOND_MAX: Final = 20  # Of more it is only said how many there were.
NOTE_CHARS_MAX: Final = 200
SETTLE_S: Final = 1.0  # How long after a message about a run its row may still change.
API_GRACE_S: Final = 3.0  # For requests under way at the end.
EVENT_SEND_S: Final = 10.0  # Who takes nothing we send for so long is dropped.
LOG_FILES_MAX: Final = 128  # Open at once.
LOGS_ENDED_MAX: Final = 10_000  # Attempts whose end is known before the state has it.
SKIPPED_KNOWN_MAX: Final = 50_000  # Attempts of cancelled jobs whose later ends do not count.
LOG_LAST_S: Final = 2.0  # How long a reader waits for the last bytes of a job that has ended.
LOG_READ_BYTES: Final = 64 * KIB

# What parts tell each other of themselves.
LOADS_EVERY_S: Final = 1.0  # How often the balancer tells the load of its partitions, at most.
LEARNED_KEYS_MAX: Final = 100  # In one message of learned durations.
ANSWER_S: Final = 1.0  # How long somebody waits for the balancer to say why a job waits,
ASKED_MAX: Final = 50  # and how many may wait at once: each answer looks at all that waits.
QUEUES_EVERY_S: Final = 1.0  # How often the balancer is asked for what waits, at most.
QUEUES_DEFAULT: Final = 200  # Groups of waiting jobs that are shown,
QUEUES_MAX: Final = 1_000  # at most.
QUEUES_KEPT_MAX: Final = 100  # Clients whose last picture is kept for that second.
REPORT_DEAR_S: Final = 0.05  # A report that takes so much CPU is given again,
REPORT_KEPT_TIMES: Final = 300  # for so many times as long,
REPORT_KEPT_S: Final = 60.0  # but not for longer than this,
REPORT_WINDOW_PARTS: Final = 15  # and one such part of its window.
REPORTS_KEPT_MAX: Final = 20  # Of all jobs; and so many of one task or worker each.
KEYS_SETTLE_S: Final = 2.0  # After the first client was told of, others may still be on their way.

# Fair use: docs/operating.md has the table. Connections, of the API and of the gateway each.
CONNECTIONS_DEFAULT: Final = 4_096  # At once; of one address half of it.
DESCRIPTORS_RESERVED: Final = 512  # Never for connections: the store, logs, the bus, processes.
CONNECTION_HEAD_S: Final = 10.0  # A request's head, from its first byte (or the connection's).
CONNECTION_IDLE_S: Final = 75.0  # Between two requests.
CONNECTION_SEND_S: Final = 5.0  # A piece of an answer, until the other side has taken it.
CONNECTION_PIECE_BYTES: Final = 64 * KIB
ACCEPT_PAUSE_S: Final = 0.1  # While the system has no descriptor left; then doubled,
ACCEPT_PAUSE_MAX_S: Final = 1.0  # to this.
COMPLAINT_EVERY_S: Final = 10.0  # How often one kind of refusal is logged, at most.
EVENT_FRAME_BYTES_MAX: Final = 64 * KIB  # What a subscriber of events says,
EVENT_FRAME_COMPRESSED_MAX: Final = 4 * KIB  # or this: it may grow a thousandfold.
FRAMES_BYTES_MAX: Final = 64 * MIB  # Workers' messages of more than BODY_FREE_BYTES, together.
CLOSING_FRAME_S: Final = 1.0  # Until a worker has answered that its socket is closed.
HANDSHAKE_BYTES_MAX: Final = 16 * KIB  # A worker's, and what follows it before the answer.
HELLO_BYTES_MAX: Final = 512 * KIB  # A worker's first message: it names what it still runs.
# Bodies of requests, until they are answered.
DOCTOR_PATIENCE_S: Final = 0.5  # A caller waits so long for a new look at the data.
BODY_FREE_BYTES: Final = 64 * KIB  # Smaller ones are not counted.
BODIES_BYTES_MAX: Final = 48 * MIB
BODIES_BYTES_EACH: Final = 32 * MIB  # Of one client.
BODY_PATIENCE_S: Final = 10.0  # A body, and besides
BODY_BYTES_PER_S_MIN: Final = 16 * KIB  # a second for so much of it.
# Answers, from before they are made until they are sent.
ANSWERS_BYTES_MAX: Final = 64 * MIB
ANSWERS_BYTES_EACH: Final = 32 * MIB  # Of one client.
ANSWER_PAGE_BYTES: Final = 8 * MIB  # A page of runs or jobs: rows, values, and text.
ANSWER_ITEM_BYTES: Final = 2 * MIB
ANSWER_QUERY_BYTES: Final = 24 * MIB  # QUERY_BYTES_MAX as bytes, values, and text.
# What threads do.
PARSING_MAX: Final = 2
EXPENSIVE_PARSING_MAX: Final = 1  # Documents of more than BODY_FREE_BYTES.
BULK_RUNS_MIN: Final = 100  # Of submissions of so many runs or more
BULK_MAX: Final = 2  # so many are with the writer at once,
BULK_PAUSE_S: Final = 1.0  # After one with a large body, at most as long as it took.
WRITER_GROUP_S: Final = 0.1  # A commit takes in no more once its pieces have taken so long.
QUERIES_MAX: Final = 1  # Processes that carry out users' queries.
EXPORTS_MAX: Final = 2
FOLLOWERS_MAX: Final = 256  # Of logs;
FOLLOWERS_EACH: Final = 128  # of one client.
EVENT_STREAMS_EACH: Final = 48
EVENT_STREAMS_PER_S: Final = 4.0  # That a client begins; each is sent a snapshot.
WAITING_MAX: Final = 200  # Requests that may wait for any one of these;
WAITING_EACH: Final = 50  # of one client.
WAITING_S: Final = 10.0
# Logins. Only wrong ones count.
LOGIN_TRIES_PER_S: Final = 0.5  # Of one id from one address,
LOGIN_TRIES_BURST: Final = 10
LOGIN_ADDRESS_PER_S: Final = 4.0  # and of all ids from it.
LOGIN_ADDRESS_BURST: Final = 20
LOGIN_KEYS_MAX: Final = 10_000  # Ids and addresses; and secrets that were right, and wrong.
LOGIN_UNDER_ATTACK_S: Final = 1.0  # A wrong login from an address that sent too many of them.
PROVEN_LOGIN_S: Final = 12 * 3_600.0
# What health measures.
STUCK_WRITER_S: Final = 5.0
STUCK_STATISTICS_S: Final = 30.0
STUCK_LOOP_S: Final = 2.0
LOOP_LOOK_S: Final = 0.5
# A user's query has a process of its own.
QUERY_BYTES_MAX: Final = 4 * MIB  # Of an answer; the rest is cut off.
QUERY_CELL_BYTES_MAX: Final = 1 * MIB
QUERY_MEMORY_BYTES_MAX: Final = 128 * MIB  # Beyond what the process has at its start.
QUERY_ENGINE_BYTES_MAX: Final = 64 * MIB
QUERY_FACTS_PENDING_MAX: Final = 10_000  # Appended since the last query; of more, all is copied.
QUERY_PARTS_MAX: Final = 100
QUERY_NICENESS: Final = 10
INTERRUPT_AGAIN_S: Final = 0.05
REPORT_WAIT_S: Final = 40.0  # For a report that others have asked for too.
REPORT_S: Final = 30.0
BACKUP_TRIES_MAX: Final = 10  # Exports, until statistics have caught up with the state.
EXPORT_S: Final = 900.0  # A backup of a running control plane needs all facts.
LOG_VALUE_CHARS_MAX: Final = 1_000  # Of one value in a log line,
LOG_TRACE_CHARS_MAX: Final = 20_000  # and of a traceback.
