/**
 * The output of jobs, line by line, bounded: the newest {@link KEEP_LOG} lines of each of the last jobs.
 *
 * Lines are pushed into one array that is cut when it is twice too long, so that ten thousand lines a second
 * cost what they weigh. Readers look at `lines` and `version`; nothing is copied for them.
 */
import type { JobLog } from "./protocol.gen.js";

export const KEEP_LOG = 50_000;
const KEEP_JOBS = 20;

export interface LogLine {
  readonly seq: number;
  readonly stream: "stdout" | "stderr";
  readonly line: string;
}

export class JobOutput {
  readonly lines: LogLine[] = [];
  /** Lines that were cut from the front. */
  dropped = 0;
  /** Changes with every change. */
  version = 0;
  private newest = 0;

  push(line: LogLine): void {
    // A new attempt counts from 1 again.
    if (line.seq <= this.newest && line.seq !== 1) return;
    if (line.seq === 1 && this.newest > 1) this.clear();
    this.newest = line.seq;
    this.lines.push(line);
    this.version += 1;
    if (this.lines.length > 2 * KEEP_LOG) {
      this.dropped += this.lines.length - KEEP_LOG;
      this.lines.splice(0, this.lines.length - KEEP_LOG);
    }
  }

  clear(): void {
    this.lines.length = 0;
    this.dropped = 0;
    this.newest = 0;
    this.version += 1;
  }
}

export class Logs {
  private readonly jobs = new Map<string, JobOutput>();

  of(job: string): JobOutput {
    let output = this.jobs.get(job);
    if (output === undefined) {
      output = new JobOutput();
      this.jobs.set(job, output);
      if (this.jobs.size > KEEP_JOBS) this.jobs.delete(this.jobs.keys().next().value!);
    }
    return output;
  }

  take(payload: JobLog): void {
    this.of(payload.jobId).push({ seq: payload.seq, stream: payload.stream, line: payload.line });
  }
}
