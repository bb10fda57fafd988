// Tangents by the port of the reference implementation that three.js ships. Usage: node mikktspace.mjs NODE_MODULES
// stdin: {position, normal, texcoord} as flat lists of unindexed triangles, v counted upwards; stdout: x y z w.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const mikktspace = await import(pathToFileURL(`${process.argv[2]}/three/examples/jsm/libs/mikktspace.module.js`));
await mikktspace.ready;
const given = JSON.parse(readFileSync(0, "utf8"));
const list = (name) => new Float32Array(given[name]);
const tangents = mikktspace.generateTangents(list("position"), list("normal"), list("texcoord"));
process.stdout.write(JSON.stringify(Array.from(tangents)));
