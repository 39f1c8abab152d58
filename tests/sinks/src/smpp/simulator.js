// An SMSC that does as it is told. The protocol is npm's `smpp`; here is only what the SMSC does.
//
// Orders come as JSON, a line each, on standard input, and are told of by {"event":"done"} when they
// are in force; what happens goes to standard output the same way. It ends with its input.
//
//   {"login": {"system_id", "password"}}   whom it lets in; anybody unless told
//   {"refuse_binds": [status, …]}          what the next binds meet
//   {"next": [behaviour, …]}               what the next submits meet, one each
//   {"otherwise": behaviour}               what all others meet
//   {"receipts": {"stat", "early", "decimal", "parameters", "part"}}  a receipt for each part taken, or none
//   {"deliver": {…}}                       a deliver_sm on every session
//   {"unbind" | "cut" | "enquire": true}   on every session
//   {"mute": true}                         answers no enquire_link
//   {"raw": "hex"}                         bytes on every session
//
// A behaviour: {} takes it; {"status"} refuses it; {"nack"} refuses it by generic_nack; {"delay"}
// waits first, in milliseconds; {"silent"} takes it without an answer; {"close": true} takes it and
// closes; {"lose": true} closes without taking it; {"unbind": true} takes it, and says goodbye before
// the answer.
'use strict';

const fs = require('fs');
const readline = require('readline');
const smpp = require('smpp');

// As they stand on the wire.
const decodeMessage = smpp.filters.message.decode;
smpp.filters.message.decode = function (value, ...rest) {
    const read = decodeMessage.call(this, value, ...rest);
    if (Buffer.isBuffer(value)) read.octets = value.toString('hex');
    return read;
};
smpp.filters.time.decode = (value) => value;

const tell = (event, more) => process.stdout.write(JSON.stringify({ event, ...more }) + '\n');

const state = { login: null, refuseBinds: [], next: [], otherwise: {}, receipts: null, mute: false };
const sessions = new Set();
let ids = 0x1000;
let numbers = 0;

function receipt(session, id, pdu, part) {
    const { stat, decimal, parameters, part: only } = state.receipts;
    if (only && only !== part) return;
    const named = decimal ? String(parseInt(id, 16)) : id;
    const dates = 'submit date:2611231200 done date:2611231201';
    const err = stat === 'DELIVRD' ? '000' : '034';
    const words = `id:${named} sub:001 dlvrd:001 ${dates} stat:${stat} err:${err} text:`;
    const message = {
        esm_class: 4, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr,
        source_addr_ton: 1, source_addr_npi: 1,
    };
    if (parameters) {
        const states = { DELIVRD: 2, EXPIRED: 3, DELETED: 4, UNDELIV: 5, REJECTD: 8 };
        message.receipted_message_id = named;
        message.message_state = states[stat];
        message.short_message = '';
    } else {
        message.short_message = words;
    }
    deliver(session, message);
}

function deliver(session, message) {
    session.deliver_sm(message, (answer) => tell('deliver_sm_resp', { status: answer.command_status }));
}

function take(session, pdu, answers) {
    const id = (ids++).toString(16);
    const header = pdu.short_message.udh && pdu.short_message.udh[0];
    const part = header && header.length === 5 ? header[4] : 1;
    tell('taken', {
        id,
        session: session.number,
        to: pdu.destination_addr,
        to_kind: [pdu.dest_addr_ton, pdu.dest_addr_npi],
        from: pdu.source_addr,
        from_kind: [pdu.source_addr_ton, pdu.source_addr_npi],
        esm_class: pdu.esm_class,
        data_coding: pdu.data_coding,
        validity_period: pdu.validity_period,
        registered_delivery: pdu.registered_delivery,
        text: pdu.short_message.message,
        octets: pdu.short_message.octets,
        header: header ? header.toString('hex') : null,
    });
    if (state.receipts && state.receipts.early) receipt(session, id, pdu, part);
    if (answers) session.send(pdu.response({ message_id: id }));
    if (state.receipts && !state.receipts.early) receipt(session, id, pdu, part);
}

function submitted(session, pdu) {
    const behaviour = state.next.shift() || state.otherwise;
    const act = () => {
        if (behaviour.status) return session.send(pdu.response({ command_status: behaviour.status }));
        if (behaviour.nack) {
            const sequence_number = pdu.sequence_number;
            return session.generic_nack({ command_status: behaviour.nack, sequence_number });
        }
        if (behaviour.lose) return session.socket.destroy();
        if (behaviour.unbind) {
            return session.unbind(() => { tell('unbind_resp'); take(session, pdu, true); });
        }
        take(session, pdu, !behaviour.silent && !behaviour.close);
        if (behaviour.close) session.socket.end();
    };
    tell('submit', { session: session.number });
    if (behaviour.delay) setTimeout(act, behaviour.delay);
    else act();
}

function bound(session, pdu) {
    const { system_id, password, system_type, interface_version } = pdu;
    const refused = state.refuseBinds.shift();
    const right = !state.login ||
        (state.login.system_id === system_id && state.login.password === password);
    const command_status = refused || (right ? 0 : smpp.ESME_RINVPASWD);
    tell('bind', { session: session.number, system_id, password, system_type, interface_version, command_status });
    session.send(pdu.response(command_status ? { command_status } : { system_id: 'simulator' }));
    if (!command_status) sessions.add(session);
}

function accept(session) {
    session.number = ++numbers;
    session.on('error', () => {});
    session.on('close', () => { sessions.delete(session); tell('closed', { session: session.number }); });
    session.on('bind_transceiver', (pdu) => bound(session, pdu));
    session.on('submit_sm', (pdu) => submitted(session, pdu));
    session.on('enquire_link', (pdu) => {
        tell('enquire_link', { session: session.number });
        if (!state.mute) session.send(pdu.response());
    });
    session.on('unbind', (pdu) => {
        tell('unbind', { session: session.number });
        session.send(pdu.response());
        session.close();
    });
    session.on('generic_nack', (pdu) => tell('generic_nack', { status: pdu.command_status }));
}

const orders = {
    login(login) { state.login = login; },
    refuse_binds(statuses) { state.refuseBinds.push(...statuses); },
    next(behaviours) { state.next.push(...behaviours); },
    otherwise(behaviour) { state.otherwise = behaviour; },
    receipts(receipts) { state.receipts = receipts; },
    mute(mute) { state.mute = mute; },
    deliver(message) { for (const session of sessions) deliver(session, message); },
    unbind() { for (const session of sessions) session.unbind(() => tell('unbind_resp')); },
    cut() { for (const session of sessions) session.socket.destroy(); },
    enquire() { for (const session of sessions) session.enquire_link(() => tell('enquire_link_resp')); },
    raw(hex) { for (const session of sessions) session.socket.write(Buffer.from(hex, 'hex')); },
};

const [certificate, key] = process.argv.slice(2);
const options = certificate ? { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) } : {};
const server = smpp.createServer(options, accept);
server.on('error', (error) => { console.error(error.message); process.exit(1); });
server.listen(0, '127.0.0.1', () => {
    tell('listening', { port: server.address().port });
    const lines = readline.createInterface({ input: process.stdin });
    lines.on('line', (line) => {
        for (const [order, value] of Object.entries(JSON.parse(line))) orders[order](value);
        tell('done');
    });
    lines.on('close', () => process.exit(0));
});
