// Asks for embeddings: argv is URL, then the request as JSON. Prints {status, body}.
const [url, request] = process.argv.slice(2);
const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: request });
console.log(JSON.stringify({ status: response.status, body: await response.json() }));
