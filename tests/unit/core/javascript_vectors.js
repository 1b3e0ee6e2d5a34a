// Prints javascript_vectors.json: what JavaScript makes of numbers, characters and documents.
// Make it anew with: node javascript_vectors.js > javascript_vectors.json

let state = 20240101;
function random32() {
  // mulberry32
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (t ^ (t >>> 14)) >>> 0;
}

const view = new DataView(new ArrayBuffer(8));
function doubleOf(high, low) {
  view.setUint32(0, high);
  view.setUint32(4, low);
  return view.getFloat64(0);
}

const printed = (text) => JSON.stringify(JSON.parse(text));

const literals = [
  "0", "-0", "0.0", "-0.0", "-0e5", "0e99999", "1", "-1", "1.0", "1.50", "1E5", "1e5", "1E+5", "1e-5", "10e-1",
  "0.1", "0.10000000000000001", "0.1000000000000000055511151231257827", "123456789.125", "1e15", "1e16", "1e17",
  "1e20", "1e21", "1e22", "123456789012345678901.5", "999999999999999900000.0", "999999999999999999999.0",
  "1e-4", "1e-5", "1e-6", "1e-7", "1e-8", "1.5e-5", "1.5e-6", "1.5e-7", "-1.5e-6", "-1.5e-7", "-1e20", "-1.25e20",
  "0.000001", "0.0000001", "0.00000123456789", "0.00001234567890123", "9.999999999999999e-7", "9.5367431640625e-7",
  "9007199254740991", "9007199254740992", "9007199254740994", "-9007199254740994", "9007199254740993.0",
  "100000000000000000000", "123456789012345680000", "36028797018963970", "1.7976931348623157e308",
  "2.2250738585072014e-308", "2.225073858507201e-308", "5e-324", "4.9e-324", "1e-400", "-1e-400", "2e-324", "3e-324",
  "4.35", "4.349999999999999", "0.3", "0.30000000000000004", "1.005", "2.675", "1e23", "8.41e21", "9.5e-7",
  "2.0000000000000004", "6.62607015e-34", "299792458", "1640995200", "1640995200.123", "5e-5", "5.5e15", "5.5e16",
  "9.007199254740993e15", "4.503599627370497e15", "4503599627370496.5", "4503599627370497.5", "2.5e-10",
];

const numbers = literals.map((literal) => [literal, printed(literal)]);
function add(x) {
  if (Number.isFinite(x)) {
    const literal = x.toExponential(16);
    numbers.push([literal, printed(literal)]);
  }
}
for (let i = 0; i < 2000; i++) add(doubleOf(random32(), random32()));
// Around the places where the form changes: between 1e-8 and 1e-3, and between 1e14 and 1e23.
for (let i = 0; i < 600; i++) add((random32() / 2 ** 32 + 0.1) * 10 ** -(3 + (i % 5)));
for (let i = 0; i < 600; i++) add((random32() / 2 ** 32 + 0.1) * 10 ** (15 + (i % 9)));
for (let power = -30; power <= 30; power++) add(10 ** power), add(-(10 ** power) * 1.1);
for (let power = -1074; power <= 1023; power += 13) add(2 ** power);

// Every code unit that stands for itself as a character, and is not printed as it is.
const escapes = {};
for (let unit = 0; unit <= 0xffff; unit++) {
  if (unit >= 0xd800 && unit <= 0xdfff) continue;
  const character = String.fromCharCode(unit);
  const text = JSON.stringify(character);
  if (text !== `"${character}"`) escapes[unit] = text;
}

const texts = [
  "null", " true ", "\n\t\r false", '""', "[]", "{}", "[ ]", "{ }", '[1 , 2,\n[ ] ]',
  '"\\u0041\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\\u00e9\\u2028\\u2029\\u007f\\u0080\\ufeff\\uffff"', '"\\u0000\\u001f\\u001F"',
  '"\\ud83c\\udf45"', '"\\uD83C\\uDF45"', '"🍅 é ß \u2028"', '{"\\u0061":1}', '{"\\ud83c\\udf45":"🍅"}',
  '{"b":1,"a":2}', '{"b":1,"2":2,"a":3,"10":4,"1":5,"0":6}', '{"":1,"-1":2,"1":3}', '{"01":1,"1":2,"00":3,"0":4}',
  '{"b":0,"4294967295":1,"4294967294":2,"4294967296":3,"7":4}', '{"99999999999":1,"12345678901":2,"1":3}',
  '{"1.5":1,"1e3":2,"3":3,"+1":4," 2":5}', '{"٣":1,"²":2,"3":3}', '{"18446744073709551615":1,"9007199254740991":2,"5":3}',
  '{"__proto__":1,"constructor":2,"toString":3}', '{"a":{"9":{"z":1,"8":[{"y":1,"7":2}]},"1":0}}',
  '{"object":{"total":42.50,"weight":0.250,"tiny":1E-7,"big":1E21,"items":[{"price":12.00},{"price":-0.0}]}}',
  '[[[[[[[[[[[[1]]]]]]]]]]]]', '{"a":[{"b":[{"c":[null,true,false,"x",1.10]}]}]}',
];
const documents = texts.map((text) => [text, printed(text)]);

// Twice the same key: the last value, in the first one's place.
const duplicates = ['{"a":1,"b":2,"a":3}', '{"2":1,"1":2,"2":[3]}', '{"a":{"x":1,"x":2},"a":{"y":1,"y":2}}'].map(
  (text) => [text, printed(text)],
);

const line = (pair) => JSON.stringify(pair);
console.log(`{"escapes":${JSON.stringify(escapes)},`);
console.log(`"documents":[\n${documents.map(line).join(",\n")}\n],`);
console.log(`"duplicates":[\n${duplicates.map(line).join(",\n")}\n],`);
console.log(`"numbers":[\n${numbers.map(line).join(",\n")}\n]}`);
