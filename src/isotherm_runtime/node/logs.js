'use strict';
// What the user's code prints, as LOG frames of the call that it belongs to, found by its asynchronous context.
// What is written outside any call, or after its end, belongs to the instance: stream 0.

const { AsyncLocalStorage } = require('node:async_hooks');
const { Kind, Flag, packFrame } = require('./frames');

const MAX_LINE_BYTES = 32 * 1024;
const INSTANCE_WINDOW_MS = 60_000; // the limit of one call holds for the instance's own output in each such window
const LEVELS = { debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARNING', error: 'ERROR', trace: 'ERROR' };

const calls = new AsyncLocalStorage();
const state = { instance: null, level: null };

/** The log of one call: lines with a bound, up to a limit, then one notice. `send` takes frames. */
class CallLog {
  constructor(send, stream, limitBytes) {
    this._send = send;
    this._stream = stream;
    this._limit = limitBytes;
    this._left = limitBytes;
    this._told = false;
    this._partial = new Map(); // by stream name: what has no line end yet
    this.ended = false;
  }

  /** Text of any shape, as a stream gets it. */
  write(name, text) {
    const lines = ((this._partial.get(name) ?? '') + text).split('\n');
    const rest = lines.pop();
    for (const line of lines) this.emit(line, null);
    if (rest.length > MAX_LINE_BYTES) {
      this.emit(rest, null);
      this._partial.delete(name);
    } else {
      this._partial.set(name, rest);
    }
  }

  /** One record; over the bound of a line it becomes several. */
  emit(text, level) {
    let data = Buffer.from(text);
    do {
      if (this._left <= 0) break;
      const piece = data.subarray(0, Math.min(MAX_LINE_BYTES, this._left));
      this._left -= piece.length + 1;
      this._put(piece, level, Flag.NONE);
      data = data.subarray(piece.length);
    } while (data.length > 0);
    if (this._left <= 0 && !this._told) {
      this._told = true;
      this._put(Buffer.from(`the log of this call reached its limit of ${this._limit} bytes`), null, Flag.TRUNCATED);
    }
  }

  /** The call ends: lines without an end go out, and what comes later belongs to the instance. */
  close() {
    for (const text of this._partial.values()) if (text !== '') this.emit(text, null);
    this._partial.clear();
    this.ended = true;
  }

  _put(data, level, flags) {
    const head = Buffer.from(JSON.stringify([Date.now(), level]));
    this._send(packFrame(Kind.LOG, this._stream, head, data, flags));
  }
}

/** The log of no call. Its limit begins anew in each window. */
class InstanceLog extends CallLog {
  constructor(send, limitBytes) {
    super(send, 0, limitBytes);
    this._windowEnd = 0;
  }

  emit(text, level) {
    const now = performance.now();
    if (now >= this._windowEnd) {
      this._windowEnd = now + INSTANCE_WINDOW_MS;
      this._left = this._limit;
      this._told = false;
    }
    super.emit(text, level);
  }
}

/** Take over `console` and the two standard streams. Needs `attach` right after. */
function install() {
  for (const [name, level] of Object.entries(LEVELS)) {
    const original = console[name];
    console[name] = (...values) => {
      const before = state.level;
      state.level = level;
      try {
        original(...values);
      } finally {
        state.level = before;
      }
    };
  }
  for (const name of ['stdout', 'stderr']) takeOver(process[name], name);
}

/** From now on output outside calls goes to this log. */
function attach(instanceLog) {
  state.instance = instanceLog;
}

function takeOver(stream, name) {
  stream.write = (chunk, encoding, callback) => {
    const call = calls.getStore();
    const log = call !== undefined && !call.ended ? call : state.instance;
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
    if (state.level === null) log.write(name, text);
    else log.emit(text.endsWith('\n') ? text.slice(0, -1) : text, state.level); // all that one console call writes
    const done = typeof encoding === 'function' ? encoding : callback;
    if (typeof done === 'function') process.nextTick(done);
    return true;
  };
}

module.exports = { CallLog, InstanceLog, attach, calls, install };
