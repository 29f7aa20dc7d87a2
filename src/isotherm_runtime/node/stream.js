'use strict';
// The instance's end of its stream to the host: frames in, frames out, those of one turn in one system call.

const net = require('node:net');
const { FrameReader } = require('./frames');

class Stream {
  /** `onEnd(error?)` is called once the host has closed it, or it cannot be used any more. */
  constructor(fd, onFrame, onEnd) {
    const reader = new FrameReader(onFrame);
    const end = (error) => { this._end(error, onEnd); };
    this._ended = false;
    this._corked = false;
    this._socket = new net.Socket({ fd, readable: true, writable: true, allowHalfOpen: false });
    this._socket.on('data', (data) => {
      try {
        reader.push(data);
      } catch (error) {
        end(error);
      }
    });
    this._socket.on('error', end);
    this._socket.on('close', () => end());
  }

  send(frame) {
    if (this._ended) return;
    if (!this._corked) {
      this._corked = true;
      this._socket.cork();
      process.nextTick(() => this.flush());
    }
    this._socket.write(frame);
  }

  /** Write what was sent so far, as far as the host takes it now. */
  flush() {
    if (!this._corked) return;
    this._corked = false;
    this._socket.uncork();
  }

  /** Write all that was sent, then call `done`. */
  finish(done) {
    this.flush();
    this._ended = true;
    this._socket.end(done);
  }

  _end(error, onEnd) {
    if (this._ended) return;
    this._ended = true;
    onEnd(error);
  }
}

module.exports = { Stream };
