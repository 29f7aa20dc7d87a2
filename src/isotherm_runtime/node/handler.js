'use strict';
// Finding and importing the user's handler: CommonJS or an ES module, with or without top-level await.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { createRequire, register } = require('node:module');
const { pathToFileURL } = require('node:url');
const { ImportProblem, describe } = require('./errors');

const HANDLER = /^((?:[^/]+\/)*)([^/.]+)\.([^/]+)$/; // folder/module.export, the export perhaps within others
const ENDINGS = ['.js', '.mjs', '.cjs'];
const ABOVE = '/deps'; // in a tree of its own: a link above the code leads there
const CHECK_MS = 5_000;
const NOT_BY_REQUIRE = new Set(['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE']);
const NOT_FOUND = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ERR_PACKAGE_PATH_NOT_EXPORTED']);

/** The handler function. `deps` is where dependencies lie, where that is not above the code. Throws `ImportProblem`. */
async function load(name, root, deps) {
  const parts = HANDLER.exec(name);
  if (parts === null || parts[1].split('/').includes('..')) {
    const rule = 'it must be FILE.FUNCTION, for instance index.handler or src/index.handler';
    throw new ImportProblem('Runtime.MalformedHandlerName', `Bad handler '${name}': ${rule}`);
  }
  if (deps !== undefined && deps !== ABOVE) {
    register('./elsewhere.mjs', pathToFileURL(__filename), { data: pathToFileURL(path.join(deps, 'package.json')).href });
  }
  const [, folder, module, exported] = parts;
  const file = findFile(path.join(root, folder, module), folder + module);
  const found = await importFile(file, root);
  return pick(found, exported, folder + module);
}

function findFile(base, shown) {
  const ending = ENDINGS.find((each) => fs.existsSync(base + each));
  if (ending === undefined) {
    const tried = ENDINGS.map((each) => shown + each).join(', ');
    throw new ImportProblem('Runtime.ImportModuleError', `Cannot find module '${shown}': the package has none of ${tried}`);
  }
  return base + ending;
}

async function importFile(file, root) {
  try {
    if (isModule(file, root)) return await import(pathToFileURL(file).href);
    try {
      return createRequire(file)(file);
    } catch (error) {
      if (!NOT_BY_REQUIRE.has(error?.code)) throw error;
      return await import(pathToFileURL(file).href);
    }
  } catch (error) {
    throw problemOf(error, file);
  }
}

/** As Node.js itself decides: by the ending, else by `type` in the nearest package.json. */
function isModule(file, root) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs');
  for (let folder = path.dirname(file); folder.length >= root.length; folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).type === 'module';
    } catch (error) {
      if (error.code !== 'ENOENT') return false; // it is no JSON: importing says so, in better words
    }
    if (folder === path.dirname(folder)) break;
  }
  return false;
}

function problemOf(error, file) {
  const { type, message, trace } = describe(error);
  const hasRun = trace.some((line) => line.startsWith('    at ')); // then it is of JSON.parse or the like
  if (error instanceof SyntaxError && !hasRun) {
    return new ImportProblem('Runtime.UserCodeSyntaxError', `${message} (${placeOf(error, file)})`, trace);
  }
  if (NOT_FOUND.has(error?.code)) {
    return new ImportProblem('Runtime.ImportModuleError', message.split('\n', 1)[0], trace);
  }
  return new ImportProblem(type, message, trace);
}

/** Where the syntax is wrong: of ES modules the error does not say it, but `node --check` does. */
function placeOf(error, file) {
  const [first] = String(error.stack).split('\n', 1);
  if (!first.startsWith('SyntaxError')) return first;
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: CHECK_MS });
  const [place] = (stderr ?? '').split('\n', 1);
  return place === '' ? `in what ${path.basename(file)} imports` : place.replace(/^file:\/\//, '');
}

function pick(found, exported, module) {
  const handler = exported.split('.').reduce((place, name) => place?.[name], found);
  if (handler === undefined) {
    throw new ImportProblem('Runtime.HandlerNotFound', `Handler '${exported}' missing on module '${module}'`);
  }
  if (typeof handler !== 'function') {
    const what = `Handler '${exported}' of module '${module}' is of type ${typeof handler}, not a function`;
    throw new ImportProblem('Runtime.HandlerNotFound', what);
  }
  return handler;
}

module.exports = { load };
