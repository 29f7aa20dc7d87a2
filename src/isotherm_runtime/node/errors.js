'use strict';
// Failures of the user's code as heads of ERROR frames: Lambda's fields, bounded, without the platform's frames.

const path = require('node:path');
const util = require('node:util');
const { MAX_HEAD_BYTES, Kind, packFrame } = require('./frames');

const MAX_TYPE_CHARS = 256;
const MAX_MESSAGE_CHARS = 8 * 1024;
const MAX_STACK_ENTRIES = 50;
const MAX_ENTRY_CHARS = 1024;
const MAX_TEXT_CHARS = 16 * 1024;
const FRAME = /^\s+at /;
const OWN_FOLDER = __dirname + path.sep;

/** The handler cannot be used; becomes an ERROR frame of the instance itself. */
class ImportProblem extends Error {
  constructor(type, message, trace = []) {
    super(message);
    this.type = type;
    this.trace = trace;
  }
}

/** The ERROR frame; its head is always below the head's limit. */
function errorFrame(stream, kind, type, message, trace = []) {
  return packFrame(Kind.ERROR, stream, errorHead(kind, type, message, trace));
}

function errorHead(kind, type, message, trace = []) {
  const fields = {
    kind,
    error_type: cut(type, MAX_TYPE_CHARS),
    error_message: cut(message, MAX_MESSAGE_CHARS),
    stack_trace: trace.slice(0, MAX_STACK_ENTRIES).map((entry) => cut(entry, MAX_ENTRY_CHARS)),
  };
  const head = Buffer.from(JSON.stringify(fields));
  return head.length <= MAX_HEAD_BYTES ? head : Buffer.from(JSON.stringify({ ...fields, stack_trace: [] }));
}

/** `{ type, message, trace }` of whatever was thrown, as Lambda gives them. */
function describe(thrown) {
  try {
    if (!util.types.isNativeError(thrown) && !(thrown instanceof Error)) {
      return { type: typeof thrown, message: asText(thrown), trace: [] };
    }
    const lines = String(thrown.stack ?? '').split('\n');
    return { type: String(thrown.name), message: String(thrown.message), trace: lines.filter(isUsers) };
  } catch (broken) {
    return { type: 'Error', message: `(not describable: ${typeof broken})`, trace: [] };
  }
}

/** What goes to the log: the error with its causes and fields, the platform's frames left out. */
function fullText(thrown) {
  try {
    return cut(util.inspect(thrown).split('\n').filter(isUsers).join('\n'), MAX_TEXT_CHARS);
  } catch {
    return '(an error that cannot be shown)';
  }
}

function isUsers(line) {
  return !FRAME.test(line) || !(line.includes(OWN_FOLDER) || /\(?node:/.test(line));
}

function asText(value) {
  return typeof value === 'string' ? value : util.inspect(value, { breakLength: Infinity });
}

function cut(text, limit) {
  return text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length - limit} more characters)`;
}

module.exports = { ImportProblem, describe, errorFrame, errorHead, fullText };
