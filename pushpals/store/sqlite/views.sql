-- The analysis schema. Every view is `-- view: name`, a sentence, and one SELECT whose columns end in
-- `AS name, -- what it is`. What stands in braces is a table, cut down to what the asker may see.
-- Adding a column or a view is a minor change; renaming or removing one is a new VERSION (views.py).

-- view: v_events
-- One row for each event, in the order of its session.
SELECT
    session_id AS session_id, -- The session.
    seq AS cursor, -- Counts from 1 within the session, without holes.
    json_extract(data, '$.id') AS id, -- The event's own id.
    json_extract(data, '$.ts') AS ts, -- When, RFC 3339 in UTC.
    type AS type, -- One of docs/reference/events.md.
    json_extract(data, '$.from') AS sender, -- Who: client:NAME, agent:NAME or worker:NAME.
    json_extract(data, '$.to') AS recipient, -- Whom it is for, if anybody in particular.
    json_extract(data, '$.payload.taskId') AS task_id, -- The task it is about, if it names one.
    json_extract(data, '$.payload.jobId') AS job_id, -- The job it is about, if it names one.
    json_extract(data, '$.payload.landingId') AS landing_id, -- The landing it is about, if it names one.
    json_extract(data, '$.payload.approvalId') AS approval_id, -- The approval it is about, if it names one.
    json_extract(data, '$.correlationId') AS correlation_id, -- What it answers.
    json_extract(data, '$.turnId') AS turn_id, -- The turn of the conversation.
    json_extract(data, '$.payload') AS payload -- The payload, as JSON.
FROM {events};

-- view: v_messages
-- One row for each thing that a person or a buddy said.
SELECT
    session_id AS session_id, -- The session.
    seq AS cursor, -- Its cursor in the session.
    json_extract(data, '$.ts') AS ts, -- When.
    CASE type WHEN 'message' THEN 'person' ELSE 'buddy' END AS role, -- person or buddy.
    json_extract(data, '$.from') AS sender, -- Who.
    json_extract(data, '$.payload.text') AS text, -- The words.
    json_extract(data, '$.payload.intent') AS intent -- What the sender said it was, if anything.
FROM {events}
WHERE type IN ('assistant_message', 'message');

-- view: v_jobs
-- One row for each job, as it is now.
SELECT
    id AS id, -- The job.
    session_id AS session_id, -- The session.
    task_id AS task_id, -- The task it belongs to.
    kind AS kind, -- One of docs/reference/job-kinds.md.
    json_extract(doc, '$.title') AS title, -- What it does, in one line.
    state AS state, -- blocked, scheduled, pending, claimed, completed, failed or cancelled.
    coalesce(json_extract(doc, '$.priority'), 'normal') AS priority, -- interactive, normal or background.
    coalesce(json_extract(doc, '$.attempt'), 0) AS attempt, -- How often it was claimed.
    worker_id AS worker_id, -- Who holds or held it last.
    json_extract(doc, '$.requestedBy') AS requested_by, -- Who asked.
    json_extract(doc, '$.messageId') AS message_id, -- The message that it came from.
    created_at AS created_at, -- When it was asked for.
    json_extract(doc, '$.startedAt') AS started_at, -- When it was claimed last.
    json_extract(doc, '$.finishedAt') AS finished_at, -- When it ended.
    updated_at AS updated_at, -- When it changed last.
    round((julianday(json_extract(doc, '$.startedAt')) - julianday(created_at)) * 86400, 3) AS waited_s, -- Seconds from asking to the last claim.
    round((julianday(json_extract(doc, '$.finishedAt')) - julianday(json_extract(doc, '$.startedAt'))) * 86400, 3) AS worked_s, -- Seconds of the last attempt.
    json_extract(doc, '$.result.summary') AS summary, -- What came of it, in one line.
    json_extract(doc, '$.error.errorClass') AS error_class, -- Whose fault: code, environment, quota, conflict, policy, cancelled or lost.
    json_extract(doc, '$.error.message') AS error, -- Why it failed.
    json_extract(doc, '$.result.base') AS base, -- The commit it worked on.
    json_extract(doc, '$.result.head') AS head, -- The commit it made, if it changed anything.
    json_extract(doc, '$.result.branch') AS branch, -- The branch of that commit.
    coalesce(json_array_length(doc, '$.result.files'), 0) AS files, -- How many files it changed.
    json_extract(doc, '$.result.diffStat') AS diff_stat, -- The change in figures, as git says it.
    json_extract(doc, '$.sandbox') AS sandbox -- What it ran in.
FROM {jobs};

-- view: v_attempts
-- One row for each try at a job.
SELECT
    a.id AS id, -- The job and the number of the attempt.
    a.job_id AS job_id, -- The job.
    j.session_id AS session_id, -- The session.
    j.kind AS kind, -- The kind of the job.
    json_extract(a.doc, '$.attempt') AS attempt, -- Counts from 1.
    a.worker_id AS worker_id, -- Who tried.
    a.started_at AS started_at, -- When it was claimed.
    json_extract(a.doc, '$.endedAt') AS ended_at, -- When it ended.
    round((julianday(json_extract(a.doc, '$.endedAt')) - julianday(a.started_at)) * 86400, 3) AS seconds, -- How long it took.
    json_extract(a.doc, '$.outcome') AS outcome, -- How it ended.
    json_extract(a.doc, '$.error.errorClass') AS error_class, -- Whose fault.
    json_extract(a.doc, '$.error.message') AS error -- Why it failed.
FROM {attempts} AS a JOIN {jobs} AS j ON j.id = a.job_id;

-- view: v_commands
-- One row for each command that was about to run, with its end.
SELECT
    c.session_id AS session_id, -- The session.
    c.seq AS cursor, -- The cursor of the call.
    json_extract(c.data, '$.ts') AS ts, -- When it began.
    json_extract(c.data, '$.payload.toolCallId') AS call_id, -- The call.
    json_extract(c.data, '$.payload.taskId') AS task_id, -- The task.
    json_extract(c.data, '$.from') AS sender, -- Who ran it.
    json_extract(c.data, '$.payload.tool') AS tool, -- Which tool.
    json_extract(c.data, '$.payload.args.argv') AS argv, -- The words of the command, a JSON array.
    json_extract(c.data, '$.payload.args.cwd') AS cwd, -- Where.
    json_extract(c.data, '$.payload.args.sandbox') AS sandbox, -- In what.
    json_extract(r.data, '$.payload.ok') AS ok, -- 1 when it did what it should, NULL while it runs.
    json_extract(r.data, '$.payload.exitCode') AS exit_code, -- Its exit code, NULL when it did not run.
    json_extract(r.data, '$.payload.stdout') AS stdout, -- What it wrote, redacted and cut.
    json_extract(r.data, '$.payload.stderr') AS stderr, -- What it complained about, redacted and cut.
    round((julianday(json_extract(r.data, '$.ts')) - julianday(json_extract(c.data, '$.ts'))) * 86400, 3) AS seconds -- How long it took.
FROM {events} AS c
LEFT JOIN {events} AS r
    ON r.session_id = c.session_id AND r.type = 'tool_result' AND r.seq > c.seq
    AND json_extract(r.data, '$.payload.toolCallId') = json_extract(c.data, '$.payload.toolCallId')
WHERE c.type = 'tool_call';

-- view: v_approvals
-- One row for each question to a person.
SELECT
    id AS id, -- The approval.
    session_id AS session_id, -- The session.
    json_extract(doc, '$.kind') AS kind, -- land, exec, net, limits, unsandboxed or other.
    state AS state, -- open, approved, denied, expired, void or consumed.
    json_extract(doc, '$.summary') AS summary, -- What would happen, in one line.
    json_extract(doc, '$.actionHash') AS action_hash, -- The hash of exactly what would happen.
    json_extract(doc, '$.requestedBy') AS requested_by, -- Who asked.
    json_extract(doc, '$.says') AS says, -- The asker's own words.
    created_at AS created_at, -- When it was asked.
    expires_at AS expires_at, -- When silence means no.
    json_extract(doc, '$.decidedBy') AS decided_by, -- Who decided.
    json_extract(doc, '$.decidedAt') AS decided_at, -- When.
    round((julianday(json_extract(doc, '$.decidedAt')) - julianday(created_at)) * 86400, 3) AS waited_s, -- Seconds from asking to the word.
    json_extract(doc, '$.reason') AS reason, -- Why, in the decider's words.
    json_extract(doc, '$.device') AS device, -- On which device.
    job_id AS job_id, -- The job it is about.
    landing_id AS landing_id -- The landing it is about.
FROM {approvals};

-- view: v_landings
-- One row for each request to land a commit.
SELECT
    id AS id, -- The landing.
    session_id AS session_id, -- The session.
    lane AS lane, -- The queue: repository:branch.
    state AS state, -- Where it is on its way.
    json_extract(doc, '$.title') AS title, -- The subject of the commit.
    job_id AS job_id, -- The job that made the change.
    json_extract(doc, '$.agent') AS agent, -- Who made the change.
    head AS head, -- The commit that was approved.
    json_extract(doc, '$.base') AS base, -- What it was made on.
    branch AS branch, -- The branch it was proposed on.
    json_extract(doc, '$.landedCommit') AS landed_commit, -- The commit on the target branch, once it is there.
    json_extract(doc, '$.cause') AS cause, -- Why it is where it is.
    json_extract(doc, '$.approvedBy') AS approved_by, -- Who said yes.
    json_extract(doc, '$.approvalId') AS approval_id, -- Where.
    json_extract(doc, '$.reverts') AS reverts, -- The landing that this one takes back.
    coalesce(json_array_length(doc, '$.files'), 0) AS files, -- How many files it changes.
    coalesce(json_extract(doc, '$.attempts'), 0) AS attempts, -- How often it was tried.
    created_at AS created_at, -- When it was asked for.
    updated_at AS updated_at, -- When it changed last.
    round((julianday(updated_at) - julianday(created_at)) * 86400, 3) AS seconds -- From asking to the last change.
FROM {landings};

-- view: v_checks
-- One row for each check that ran, or could not: the receipts.
SELECT
    session_id AS session_id, -- The session.
    seq AS cursor, -- Its cursor in the session.
    json_extract(data, '$.ts') AS ts, -- When it ended.
    json_extract(data, '$.payload.jobId') AS job_id, -- The job it was run for.
    json_extract(data, '$.payload.landingId') AS landing_id, -- The landing it was run for.
    json_extract(data, '$.payload.evidence.check') AS name, -- The check's name.
    json_extract(data, '$.payload.evidence.verdict') AS verdict, -- passed, failed, timed_out or could_not_run.
    json_extract(data, '$.payload.evidence.argv') AS argv, -- The words of the command, a JSON array.
    json_extract(data, '$.payload.evidence.commit') AS commit_id, -- The commit it was run on.
    json_extract(data, '$.payload.evidence.exitCode') AS exit_code, -- Its exit code.
    coalesce(json_extract(data, '$.payload.evidence.seconds'), 0.0) AS seconds, -- How long it took.
    coalesce(json_extract(data, '$.payload.evidence.counts.passed'), 0) AS passed, -- Tests that passed.
    coalesce(json_extract(data, '$.payload.evidence.counts.failed'), 0) AS failed, -- Tests that failed.
    coalesce(json_extract(data, '$.payload.evidence.counts.errors'), 0) AS errors, -- Tests that broke.
    coalesce(json_extract(data, '$.payload.evidence.counts.skipped'), 0) AS skipped, -- Tests that were left out.
    json_extract(data, '$.payload.evidence.failures') AS failures, -- Names of what failed, a JSON array.
    json_extract(data, '$.payload.evidence.runBy') AS run_by, -- Who ran it.
    coalesce(json_extract(data, '$.payload.evidence.sandbox'), 'none') AS sandbox -- In what.
FROM {events}
WHERE type = 'check_finished';

-- view: v_costs
-- One row for each attempt at a job, with what it cost: time always, money and words when an agent reports them.
SELECT
    a.job_id AS job_id, -- The job.
    json_extract(a.doc, '$.attempt') AS attempt, -- Which try.
    j.session_id AS session_id, -- The session.
    j.task_id AS task_id, -- The task.
    j.kind AS kind, -- The kind of the job.
    a.worker_id AS worker_id, -- Who tried.
    a.started_at AS started_at, -- When it began.
    round((julianday(json_extract(a.doc, '$.endedAt')) - julianday(a.started_at)) * 86400, 3) AS worked_s, -- Seconds of a worker's time.
    CASE WHEN json_extract(j.doc, '$.attempt') = json_extract(a.doc, '$.attempt') THEN json_extract(j.doc, '$.result.output.usage.costUsd') END AS usd, -- Money, as the agent reported it.
    CASE WHEN json_extract(j.doc, '$.attempt') = json_extract(a.doc, '$.attempt') THEN json_extract(j.doc, '$.result.output.usage.inputTokens') END AS input_tokens, -- Tokens read, as the agent reported them.
    CASE WHEN json_extract(j.doc, '$.attempt') = json_extract(a.doc, '$.attempt') THEN json_extract(j.doc, '$.result.output.usage.outputTokens') END AS output_tokens -- Tokens written, as the agent reported them.
FROM {attempts} AS a
JOIN {jobs} AS j ON j.id = a.job_id;
