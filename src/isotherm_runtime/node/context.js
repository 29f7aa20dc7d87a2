'use strict';
// The context object of Lambda: what a handler gets as its second argument.

const { randomBytes } = require('node:crypto');

/** The class of all contexts of one function. */
function contextClass(config) {
  const day = new Date().toISOString().slice(0, 10).replaceAll('-', '/');
  const logStreamName = `${day}/[${config.function_version}]${randomBytes(16).toString('hex')}`;

  return class Context {
    #deadline;

    /** `deadline` is of performance.now(). `qualifier`: the alias or version that was called, which is `version`. */
    constructor(requestId, deadline, client, qualifier, version) {
      this.#deadline = deadline;
      // Lambda's default. Answers are sent as soon as they are there, whatever it is set to.
      this.callbackWaitsForEmptyEventLoop = true;
      this.functionName = config.function_name;
      this.functionVersion = version ?? config.function_version;
      this.invokedFunctionArn = qualifier ? `${config.function_arn}:${qualifier}` : config.function_arn;
      this.memoryLimitInMB = String(config.memory_mb);
      this.logGroupName = `/aws/lambda/${config.function_name}`;
      this.logStreamName = logStreamName;
      this.awsRequestId = requestId;
      this.clientContext = clientContext(client);
      this.identity = undefined; // no Cognito here
    }

    /** Milliseconds until the call is ended; never below 0. */
    getRemainingTimeInMillis() {
      return Math.max(0, Math.floor(this.#deadline - performance.now()));
    }
  };
}

/** From an object, or from the header's base64 of its JSON; undefined where it is neither. */
function clientContext(value) {
  if (typeof value === 'string') {
    try {
      value = JSON.parse(Buffer.from(value, 'base64').toString());
    } catch {
      return undefined;
    }
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

module.exports = { contextClass };
