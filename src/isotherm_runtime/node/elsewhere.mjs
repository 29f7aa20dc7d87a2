// Where a sandbox has no tree of its own, dependencies do not lie above the code: `import` looks there as a last resort.

let place;

export function initialize(url) {
  place = url;
}

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    try {
      return await next(specifier, { ...context, parentURL: place });
    } catch {
      throw error; // it names who asked
    }
  }
}
