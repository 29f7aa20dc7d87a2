import ms from 'ms';

const prices = await loadPrices(); // once for each instance, before it takes calls

/** Says when an order will be ready and what it costs; waits beside other calls. */
export async function handler(event, context) {
  const { item = 'tea', count = 1, prepares = '20ms' } = event;
  if (!(item in prices)) throw new RangeError(`nobody sells ${item}`);
  console.log('order %s: %d of %s', context.awsRequestId, count, item);
  await new Promise((resolve) => setTimeout(resolve, Math.min(ms(prepares), 5_000)));
  return { item, count, price: prices[item] * count, prepared_in_ms: ms(prepares) };
}

async function loadPrices() {
  return { tea: 2, cake: 3 };
}
