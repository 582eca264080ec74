// A host of Node, which walks along the words that it heard. Start: dreamctl host -- node host.mjs
import { createInterface } from "node:readline";

const follows = new Map();
const any = (list) => list[Math.floor(Math.random() * list.length)];
const words = (text) => text.toLowerCase().match(/\p{L}+/gu) ?? [];
const send = (message) => process.stdout.write(JSON.stringify(message) + "\n");

function learn(text) {
  const heard = words(text);
  heard.slice(1).forEach((word, i) => {
    if (!follows.has(heard[i])) follows.set(heard[i], []);
    follows.get(heard[i]).push(word);
  });
}

function walk(seed) {
  let word = any(words(seed));
  const said = [];
  for (let steps = 8 + Math.random() * 5; said.length < steps; said.push(word))
    word = any(follows.get(word) ?? [...follows.keys()]);
  return said.join(" ");
}

learn("the river is near and the river hears the rain under the old house where a small lamp waits");
send({ hello: { name: "node", provides: ["generate", "observe"], origin: ["I am small. I listen to water."] } });

for await (const line of createInterface({ input: process.stdin })) {
  const { id, generate, observe } = JSON.parse(line);
  if (generate) send({ id, text: walk(generate.seed) });
  if (observe) {
    learn(observe.text);
    send({ id, taken: true });
  }
}
