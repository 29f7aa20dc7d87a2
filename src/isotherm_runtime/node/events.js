'use strict';
// A function URL's request as Lambda's event, payload format 2.0.

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const TEXT_TYPES = new Set([
  'application/json', 'application/xml', 'application/javascript', 'application/graphql', 'application/x-ndjson',
]);
const CLOSING_BRACKET = 0x5d;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `{ requestId, event }` of a REQUEST with Flag.HTTP. Throws where the head is not what the protocol says. */
function buildEvent(head, body, config) {
  const split = head.indexOf(CLOSING_BRACKET) + 1;
  const [requestId, timeMs] = JSON.parse(head.toString('utf8', 0, split));
  const [method, path, query, pairs, sourceIp, domain] = JSON.parse(head.toString('utf8', split));
  const { headers, cookies } = readHeaders(pairs);
  const event = { version: '2.0', routeKey: '$default', rawPath: path, rawQueryString: query };
  if (cookies !== null) event.cookies = cookies;
  event.headers = headers;
  if (query !== '') event.queryStringParameters = parseQuery(query);
  event.requestContext = {
    accountId: config.function_arn.split(':')[4] || 'anonymous',
    apiId: config.function_name,
    domainName: domain,
    domainPrefix: domain.split('.', 1)[0],
    http: { method, path, protocol: 'HTTP/1.1', sourceIp, userAgent: headers['user-agent'] ?? '' },
    requestId,
    routeKey: '$default',
    stage: '$default',
    time: clock(timeMs),
    timeEpoch: timeMs,
  };
  return { requestId, event: Object.assign(event, readBody(headers['content-type'] ?? '', body)) };
}

function readHeaders(pairs) {
  const headers = {};
  let cookies = null;
  for (const [cased, value] of pairs) {
    const name = cased.toLowerCase();
    if (name === 'cookie') cookies = [...(cookies ?? []), ...value.split('; ').filter(Boolean)];
    else headers[name] = Object.hasOwn(headers, name) ? `${headers[name]},${value}` : value;
  }
  return { headers, cookies };
}

/** Names and values decoded; values of a repeated name are joined with commas. */
function parseQuery(query) {
  const found = {};
  for (const [name, value] of new URLSearchParams(`&${query}`)) { // a leading "?" would be taken off
    found[name] = Object.hasOwn(found, name) ? `${found[name]},${value}` : value;
  }
  return found;
}

function readBody(contentType, body) {
  if (body.length === 0) return { isBase64Encoded: false };
  if (isText(contentType)) {
    try {
      return { body: utf8.decode(body), isBase64Encoded: false };
    } catch {
      // not UTF-8: as bytes
    }
  }
  return { body: body.toString('base64'), isBase64Encoded: true };
}

/** Whether a body of this type goes into the event as text; any other goes as base64. */
function isText(contentType) {
  const kind = contentType.split(';', 1)[0].trim().toLowerCase();
  return kind.startsWith('text/') || TEXT_TYPES.has(kind) || kind.endsWith('+json') || kind.endsWith('+xml');
}

function clock(timeMs) {
  const t = new Date(timeMs);
  const two = (number) => String(number).padStart(2, '0');
  const time = [t.getUTCHours(), t.getUTCMinutes(), t.getUTCSeconds()].map(two).join(':');
  return `${two(t.getUTCDate())}/${MONTHS[t.getUTCMonth()]}/${t.getUTCFullYear()}:${time} +0000`;
}

module.exports = { buildEvent };
