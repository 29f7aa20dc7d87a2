'use strict';
// An instance of a Node.js revision: `node main.js STREAM CONFIG`, both inherited descriptors. Imports the handler,
// says HELLO, then serves until the host closes the stream or sends DRAIN. Standard library alone.

const fs = require('node:fs');
const { Calls } = require('./calls');
const { ImportProblem, describe, errorFrame, fullText } = require('./errors');
const { PROTOCOL_VERSION, FrameError, Kind, packFrame } = require('./frames');
const { load } = require('./handler');
const logs = require('./logs');
const { Stream } = require('./stream');
const streaming = require('./streaming');

const EXIT_REFUSED = 1;
const EXIT_CRASHED = 1;
const EXIT_BROKEN_STREAM = 74;
const FINISH_MS = 5_000; // for the last answers to be read

async function main(streamFd, configFd) {
  const config = readConfig(configFd);
  logs.install();
  streaming.install();
  const early = []; // what the import prints: the host reads nothing before HELLO
  logs.attach(new logs.InstanceLog((frame) => early.push(frame), config.log_limit_bytes));
  const began = performance.now();
  const handler = await importHandler(streamFd, config);
  serve(streamFd, handler, config, performance.now() - began, early);
}

function readConfig(fd) {
  const config = JSON.parse(fs.readFileSync(fd, 'utf8'));
  fs.closeSync(fd);
  return config;
}

/** The handler. Where there is none, the host is told why, and the process ends. */
async function importHandler(streamFd, config) {
  const refuse = ({ type, message, trace }) => {
    process.removeAllListeners('exit');
    fs.writeSync(streamFd, errorFrame(0, 'import', type, message, trace));
    process.exit(EXIT_REFUSED);
  };
  const refuseThrown = (thrown) => refuse(describe(thrown));
  const module = config.handler.split('.', 1)[0];
  const refuseEnd = (what) => refuse({ type: 'Runtime.ExitError', message: `Module '${module}' ${what}`, trace: [] });
  const refuseExit = (status) => refuseEnd(`called process.exit(${status}) while it was imported`);
  const refuseIdle = () => refuseEnd('waits at its top level for what can never come');
  process.on('uncaughtException', refuseThrown);
  process.on('exit', refuseExit);
  process.on('beforeExit', refuseIdle);
  let handler = null;
  try {
    handler = await load(config.handler, ...config.path);
  } catch (problem) {
    if (!(problem instanceof ImportProblem)) throw problem;
    refuse(problem);
  }
  process.removeListener('uncaughtException', refuseThrown);
  process.removeListener('exit', refuseExit);
  process.removeListener('beforeExit', refuseIdle);
  return handler;
}

function serve(streamFd, handler, config, importMs, early) {
  const stream = new Stream(streamFd, (...frame) => calls.onFrame(...frame), onEnd);
  const send = (frame) => stream.send(frame);
  const calls = new Calls(handler, config, send, () => finish(stream, 0));
  const instanceLog = new logs.InstanceLog(send, config.log_limit_bytes);
  logs.attach(instanceLog);
  const crash = (thrown, type) => {
    (logs.calls.getStore() ?? instanceLog).emit(fullText(thrown), 'ERROR');
    calls.fail(thrown, type);
    finish(stream, EXIT_CRASHED);
  };
  process.on('uncaughtException', (thrown) => crash(thrown));
  process.on('unhandledRejection', (thrown) => crash(thrown, 'Runtime.UnhandledPromiseRejection'));
  process.on('exit', () => {
    calls.closeLogs();
    stream.flush();
  });
  const hello = { v: PROTOCOL_VERSION, runtime: config.runtime, import_ms: Math.round(importMs * 1000) / 1000 };
  send(packFrame(Kind.HELLO, 0, Buffer.from(JSON.stringify(hello))));
  early.forEach(send);

  function onEnd(error) {
    if (error instanceof FrameError) process.stderr.write(`the host broke the protocol: ${error.message}\n`);
    process.exit(error === undefined ? 0 : EXIT_BROKEN_STREAM);
  }
}

/** End once all is written; threads and timers of the user's code may still run. */
function finish(stream, status) {
  setTimeout(() => process.exit(status), FINISH_MS);
  stream.finish(() => process.exit(status));
}

main(...process.argv.splice(2).map(Number));
