'use strict';
// Calls of one handler: from REQUEST frames to the frames that answer them, as many at once as the host sends.

const { contextClass } = require('./context');
const { describe, errorFrame, fullText } = require('./errors');
const { buildEvent } = require('./events');
const { Kind, Flag, packFrame } = require('./frames');
const { CallLog, calls: callContext } = require('./logs');
const { BadResponse, packResponse } = require('./responses');
const { ResponseStream, callStreaming, isStreaming } = require('./streaming');

/** The event is not JSON, or the head is not what the protocol says. */
class BadRequest extends Error {}

class Calls {
  /** `send` takes frames; `onDrained` is called once no call runs and none will come. */
  constructor(handler, config, send, onDrained) {
    this._handler = handler;
    this._config = config;
    this._send = send;
    this._onDrained = onDrained;
    this._Context = contextClass(config);
    this._limit = config.dispatch === 'serial' ? 1 : config.concurrency;
    this._running = new Map(); // by stream: { log, response }
    this._pending = [];
    this._draining = false;
  }

  onFrame(kind, flags, stream, deadlineMs, head, body) {
    if (kind === Kind.REQUEST) {
      const arrived = performance.now();
      const request = { stream, isHttp: (flags & Flag.HTTP) !== 0, head, body, arrived, deadlineMs };
      if (this._running.size < this._limit) this._serve(request);
      else this._pending.push(request);
    } else if (kind === Kind.PING) {
      this._send(packFrame(Kind.PING, stream));
    } else if (kind === Kind.WINDOW) {
      this._running.get(stream)?.response?.grant(deadlineMs); // the field that carries the bytes
    } else if (kind === Kind.CANCEL) {
      this._cancel(stream);
    } else if (kind === Kind.DRAIN) {
      this._draining = true;
      this._endIfDrained();
    }
  }

  /** The process ends: what was printed without a line's end goes out. */
  closeLogs() {
    for (const { log } of this._running.values()) log.close();
  }

  /** The process is about to end: answer all that runs. `type` instead of the error's own, where given. */
  fail(thrown, type) {
    const { type: own, message, trace } = describe(thrown);
    for (const [stream, call] of this._running) {
      call.log.close();
      this._answerError(stream, call, 'handler', type ?? own, message, trace);
    }
    this._running.clear();
  }

  async _serve(request) {
    const { stream } = request;
    const call = { log: new CallLog(this._send, stream, this._config.log_limit_bytes), response: null };
    this._running.set(stream, call);
    try {
      const { event, context } = this._begin(request);
      const answer = await callContext.run(call.log, () => this._call(request, call, event, context));
      call.log.close();
      if (this._running.has(stream)) this._send(answer);
    } catch (thrown) {
      this._fail(stream, call, thrown);
    }
    this._finished(stream);
  }

  _begin({ isHttp, head, body, arrived, deadlineMs }) {
    const deadline = arrived + (deadlineMs || this._config.timeout_ms);
    try {
      if (isHttp) {
        const { requestId, event } = buildEvent(head, body, this._config);
        return { event, context: new this._Context(requestId, deadline) };
      }
      const [requestId, client, qualifier, version] = JSON.parse(head.toString());
      const event = body.length > 0 ? JSON.parse(body.toString()) : {};
      return { event, context: new this._Context(requestId, deadline, client, qualifier, version) };
    } catch (error) {
      throw new BadRequest(`the event is not JSON: ${error.message}`);
    }
  }

  /** The frame that answers, or that ends a streamed answer. */
  async _call({ stream, isHttp }, call, event, context) {
    if (isStreaming(this._handler)) {
      call.response = new ResponseStream(this._send, stream, isHttp);
      await callStreaming(this._handler, event, call.response, context);
      return call.response.endFrame;
    }
    const result = await callPlain(this._handler, event, context);
    return packResponse(stream, isHttp, result, this._config.max_response_bytes);
  }

  _fail(stream, call, thrown) {
    if (!this._running.has(stream)) return; // it was answered: cancelled, or the whole instance ends
    if (thrown instanceof BadRequest) {
      this._answerError(stream, call, 'request', 'Runtime.UnmarshalError', thrown.message);
    } else if (thrown instanceof BadResponse) {
      call.log.emit(thrown.message, 'ERROR');
      call.log.close();
      this._answerError(stream, call, 'response', 'Runtime.MarshalError', thrown.message);
    } else {
      const { type, message, trace } = describe(thrown);
      call.log.emit(fullText(thrown), 'ERROR');
      call.log.close();
      this._answerError(stream, call, 'handler', type, message, trace);
    }
  }

  _answerError(stream, call, kind, type, message, trace) {
    if (call.response === null) this._send(errorFrame(stream, kind, type, message, trace));
    else call.response.fail(kind, type, message, trace);
  }

  _finished(stream) {
    this._running.delete(stream);
    while (this._pending.length > 0 && this._running.size < this._limit) {
      const request = this._pending.shift();
      const late = request.deadlineMs > 0 && performance.now() - request.arrived > request.deadlineMs;
      if (late) this._send(cancelled(request.stream, 'its time was over before its turn came'));
      else this._serve(request);
    }
    this._endIfDrained();
  }

  /** A call that has begun cannot be taken back, unless it streams: then what it writes goes nowhere from now on. */
  _cancel(stream) {
    const why = 'nobody waits for this call any more';
    const index = this._pending.findIndex((request) => request.stream === stream);
    if (index >= 0) {
      this._pending.splice(index, 1);
      this._send(cancelled(stream, why));
      return;
    }
    const call = this._running.get(stream);
    if (call === undefined || call.response === null) return;
    call.log.close();
    this._running.delete(stream);
    call.response.fail('cancelled', 'Runtime.Cancelled', why);
  }

  _endIfDrained() {
    if (this._draining && this._running.size === 0 && this._pending.length === 0) this._onDrained();
  }
}

/** What the handler answers: by promise, by callback where it takes one, else by returning. */
function callPlain(handler, event, context) {
  return new Promise((resolve, reject) => {
    const callback = (error, result) => {
      if (error !== undefined && error !== null) reject(error);
      else resolve(result);
    };
    const returned = handler(event, context, callback);
    if (typeof returned?.then === 'function') returned.then(resolve, reject);
    else if (handler.length < 3) resolve(returned);
  });
}

function cancelled(stream, why) {
  return errorFrame(stream, 'cancelled', 'Runtime.Cancelled', why);
}

module.exports = { Calls };
