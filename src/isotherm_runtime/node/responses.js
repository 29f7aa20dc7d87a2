'use strict';
// What a handler returned, as frames: any JSON value, or over a function URL an answer by Lambda's rules.

const { MAX_HEAD_BYTES, Kind, Flag, packFrame } = require('./frames');

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const SHOWN_CHARS = 80;

/** The handler's answer breaks the rules; the message names the field and what it must be. */
class BadResponse extends Error {}

/** The RESPONSE frame. Throws `BadResponse`. */
function packResponse(stream, isHttp, result, limitBytes) {
  if (!isHttp || !isObject(result) || !('statusCode' in result)) {
    return packFrame(Kind.RESPONSE, stream, undefined, bounded(encode(result), limitBytes));
  }
  const body = bounded(readBody(result), limitBytes);
  return packFrame(Kind.RESPONSE, stream, packHead(result, 'application/json'), body, Flag.HTTP);
}

/** The head of an HTTP answer from `{ statusCode, headers, cookies }`. Throws `BadResponse`. */
function packHead({ statusCode, headers, cookies }, contentType) {
  const head = Buffer.from(JSON.stringify([readStatus(statusCode), readHeaders(headers, contentType), readCookies(cookies)]));
  if (head.length > MAX_HEAD_BYTES) {
    throw new BadResponse(`headers take ${head.length} bytes; the limit is ${MAX_HEAD_BYTES}`);
  }
  return head;
}

function encode(value) {
  try {
    return Buffer.from(JSON.stringify(value) ?? 'null');
  } catch (error) {
    const why = String(error?.message).split('\n', 1)[0];
    throw new BadResponse(`the handler's return value cannot be sent as JSON: ${why}`);
  }
}

function readBody({ body, isBase64Encoded }) {
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (typeof body !== 'string') {
    const hint = ArrayBuffer.isView(body)
      ? 'base64-encode it and set isBase64Encoded to true'
      : 'use JSON.stringify(...)';
    throw new BadResponse(`body is of type ${kindOf(body)}; it must be a string: ${hint}`);
  }
  if (isBase64Encoded === true) {
    if (body.length % 4 !== 0 || !BASE64.test(body)) {
      throw new BadResponse('body is not base64, but isBase64Encoded is true');
    }
    return Buffer.from(body, 'base64');
  }
  if (isBase64Encoded !== undefined && isBase64Encoded !== null && isBase64Encoded !== false) {
    throw new BadResponse(`isBase64Encoded is ${shown(isBase64Encoded)}; it must be true or false`);
  }
  return Buffer.from(body);
}

function readStatus(value) {
  const number = typeof value === 'string' && /^\d{3}$/.test(value) ? Number(value) : value;
  if (!Number.isInteger(number) || number < 200 || number > 599) {
    throw new BadResponse(`statusCode is ${shown(value)}; it must be a whole number from 200 to 599`);
  }
  return number;
}

function readHeaders(value, contentType) {
  if (value !== undefined && value !== null && !isObject(value)) {
    throw new BadResponse(`headers is of type ${kindOf(value)}; it must be an object of names and strings`);
  }
  const found = Object.entries(value ?? {}).map(([name, content]) => [checkedName(name), readHeader(name, content)]);
  if (!found.some(([name]) => name.toLowerCase() === 'content-type')) found.push(['content-type', contentType]);
  return found;
}

function checkedName(name) {
  if (!TOKEN.test(name)) throw new BadResponse(`headers has the name ${shown(name)}, which is not a valid header name`);
  return name;
}

function readHeader(name, content) {
  if (!['string', 'number', 'boolean'].includes(typeof content)) {
    throw new BadResponse(`headers[${shown(name)}] is of type ${kindOf(content)}; it must be a string`);
  }
  if (!VALUE.test(String(content))) {
    throw new BadResponse(`headers[${shown(name)}] has a line break or another control character`);
  }
  return String(content);
}

function readCookies(value) {
  if (!value) return [];
  if (!Array.isArray(value)) throw new BadResponse(`cookies is of type ${kindOf(value)}; it must be a list of strings`);
  value.forEach((cookie, index) => {
    if (typeof cookie !== 'string') {
      throw new BadResponse(`cookies[${index}] is of type ${kindOf(cookie)}; it must be a string`);
    }
    if (!VALUE.test(cookie)) {
      throw new BadResponse(`cookies[${index}] has a line break or another control character`);
    }
  });
  return value;
}

function bounded(body, limitBytes) {
  if (body.length > limitBytes) {
    throw new BadResponse(`the answer has ${body.length} bytes; the limit is ${limitBytes}`);
  }
  return body;
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value) {
  return value === null ? 'null' : typeof value === 'object' ? value.constructor?.name ?? 'object' : typeof value;
}

function shown(value) {
  const text = typeof value === 'bigint' ? `${value}n` : JSON.stringify(value) ?? String(value);
  return text.length <= SHOWN_CHARS ? text : `${text.slice(0, SHOWN_CHARS)}…`;
}

module.exports = { BadResponse, packHead, packResponse };
