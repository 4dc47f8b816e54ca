// What nighthouse does against a server, and what it sees of the Python clients. Started by
// other-clients, in the folder where the clients are installed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";

const [url] = process.argv.slice(2);
const { connect } = createRequire(`${process.cwd()}/`)("nighthouse/node");
const drawing = new URL("other-clients.py", import.meta.url).pathname;

const BYTES = 28 * 14 * 3;
const picture = (number) => new Uint8Array(BYTES).fill(number);

async function client(user) {
  const lighthouse = connect({ url, auth: { USER: user, TOKEN: `${user}-token` } });
  await lighthouse.ready();
  return lighthouse;
}

async function refused(code, promise) {
  await assert.rejects(promise, (error) => error.message.includes(String(code)));
}

const tests = {
  async "nighthouse writes, reads and lists"(admin) {
    await admin.mkdir(["js"]);
    await admin.create(["js", "empty"]);
    await admin.post(["js", "deep", "value"], { text: "ä", list: [1, -2.5, null] });
    const read = await admin.get(["js", "deep", "value"]);
    assert.deepEqual(read.PAYL, { text: "ä", list: [1, -2.5, null] });
    assert.equal((await admin.get(["js", "empty"])).PAYL, null);
    assert.deepEqual((await admin.list(["js"])).PAYL, { deep: { value: null }, empty: null });
    await admin.delete(["js", "deep"]);
    assert.deepEqual((await admin.list(["js"])).PAYL, { empty: null });
    await refused(404, admin.get(["js", "deep", "value"]));
    await refused(404, admin.list(["js", "empty"]));
  },

  async "nighthouse links"(admin) {
    await admin.post(["js", "source"], 1);
    await admin.post(["js", "destination"], 2);
    await admin.link(["js", "source"], ["js", "destination"]);
    await refused(409, admin.link(["js", "destination"], ["js", "source"]));
    await admin.put(["js", "source"], 3);
    assert.equal((await admin.get(["js", "destination"])).PAYL, 3);
    await admin.unlink(["js", "source"], ["js", "destination"]);
    await admin.put(["js", "source"], 4);
    assert.equal((await admin.get(["js", "destination"])).PAYL, 3);
  },

  async "nighthouse streams a model and stops"(admin) {
    await admin.post(["user", "nighthouse", "model"], picture(0));
    const display = await client("nighthouse");
    let number = 0;
    for await (const message of await display.streamModel()) {
      assert.deepEqual(new Uint8Array(message.PAYL), picture(number));
      if (number === 100) break;
      number += 1;
      await admin.putModel(picture(number));
    }
    await display.close();
  },

  "phare draws": (admin) => draws(admin, "phare"),
  "pyghthouse draws": (admin) => draws(admin, "pyghthouse"),
};

// A Python client draws 1, 2, 3 and so on up to 30, while nighthouse looks on. In Node it forgets a
// message that comes together with another one of the same stream, so what it shows has gaps. The
// last picture comes alone.
async function draws(admin, user) {
  const model = ["user", user, "model"];
  await admin.post(model, picture(0));
  const display = await client("nighthouse");
  const messages = (await display.streamModel(user))[Symbol.asyncIterator]();
  const next = async () => new Uint8Array((await messages.next()).value.PAYL);
  assert.deepEqual(await next(), picture(0));

  const python = spawn("python3", [drawing, user, url]);
  let printed = "";
  python.stdout.on("data", (text) => (printed += text));
  python.stderr.on("data", (text) => (printed += text));
  const [code] = await once(python, "close");
  assert.equal(code, 0, printed);

  assert.deepEqual(new Uint8Array((await display.get(model)).PAYL), picture(30));
  await admin.put(model, picture(31));
  for (let last = 0; last < 31; ) {
    const seen = await next();
    assert.deepEqual(seen, picture(seen[0]));
    assert(seen[0] > last || seen[0] === 30, `${seen[0]} after ${last}`);
    last = seen[0];
  }
  // Sends STOP. With a stream open, closing would throw.
  await messages.return();
  await display.close();
}

const admin = await client("nighthouse");
for (const [name, test] of Object.entries(tests)) {
  await test(admin);
  console.log(`${name}: ok`);
}
await admin.close();
