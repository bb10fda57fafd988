// Prints the Khronos validator's report on a file as JSON. Usage: node validate_gltf.js FILE
// Needs the npm package gltf-validator: in node_modules at the root, or in the folder named by NODE_PATH.
const { readFileSync } = require("fs");
const { validateBytes } = require("gltf-validator");

validateBytes(new Uint8Array(readFileSync(process.argv[2])), { maxIssues: 50 }).then(
  (report) => console.log(JSON.stringify(report)),
  (error) => {
    console.error(String(error));
    process.exit(1);
  },
);
