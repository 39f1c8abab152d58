// Puts packages of npm's registry into a folder: `node npm-fetch.js FOLDER [NAME VERSION SHA512]…`.
// None is used whose digest is not the one given.
'use strict';

const { spawnSync } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');
const https = require('https');

const TRIES = 4;

function get(url) {
    return new Promise((done, fail) => {
        const request = https.get(url, { timeout: 60000 }, (answer) => {
            if (answer.statusCode !== 200) {
                answer.resume();
                return fail(new Error(`${url}: HTTP ${answer.statusCode}`));
            }
            const chunks = [];
            answer.on('data', (chunk) => chunks.push(chunk));
            answer.on('end', () => done(Buffer.concat(chunks)));
            answer.on('error', fail);
        });
        request.on('timeout', () => request.destroy(new Error(`${url}: no answer`)));
        request.on('error', fail);
    });
}

async function fetched(url) {
    for (let attempt = 1; ; attempt++) {
        try {
            return await get(url);
        } catch (error) {
            if (attempt === TRIES) throw error;
            await new Promise((later) => setTimeout(later, 1000 * attempt));
        }
    }
}

async function put(folder, name, version, sha512) {
    const url = `https://registry.npmjs.org/${name}/-/${name}-${version}.tgz`;
    const tarball = await fetched(url);
    const digest = createHash('sha512').update(tarball).digest('base64');
    if (digest !== sha512) throw new Error(`${url}: its digest is ${digest}, not ${sha512}`);
    const to = `${folder}/${name}`;
    fs.rmSync(to, { recursive: true, force: true });
    fs.mkdirSync(to, { recursive: true });
    const args = ['-xz', '--strip-components=1', '-C', to];
    const tar = spawnSync('tar', args, { input: tarball, stdio: ['pipe', 'inherit', 'inherit'] });
    if (tar.status !== 0) throw new Error(`${name}: tar failed`);
}

async function main([folder, ...packages]) {
    for (; packages.length > 0; packages.splice(0, 3)) {
        await put(folder, packages[0], packages[1], packages[2]);
    }
}

main(process.argv.slice(2)).catch((error) => {
    console.error(`npm-fetch: ${error.message}`);
    process.exit(1);
});
