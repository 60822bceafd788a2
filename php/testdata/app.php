<?php
// One behaviour per path, chosen by the request.
require __DIR__ . '/lib.php';

$worker = new Worker();
$served = 0;

while ($r = $worker->next()) {
    $served++;
    parse_str($r->rawQuery, $q);
    $text = ['Content-Type' => ['text/plain']];
    switch (parse_url($r->uri, PHP_URL_PATH)) {
        case '/echo':
            $worker->respond(200, json_encode($r, JSON_INVALID_UTF8_SUBSTITUTE), ['Content-Type' => ['application/json']]);
            break;
        case '/body':
            $body = isset($r->attributes['edge.body_file']) ? file_get_contents($r->attributes['edge.body_file'][0]) : $r->body;
            $worker->respond(200, strlen($body) . ' ' . md5($body), ['X-File' => [$r->attributes['edge.body_file'][0] ?? '']]);
            break;
        case '/files':
            $seen = [];
            $uploads = json_decode($r->uploads, true);
            array_walk_recursive($uploads, function ($value, $key) use (&$seen) {
                if ($key === 'tmpName' && $value !== '') {
                    $seen[] = file_get_contents($value);
                }
            });
            if (isset($q['move'])) {
                rename($uploads['f']['tmpName'], $q['move']);
            }
            $worker->respond(200, json_encode(['form' => $r->body, 'uploads' => $uploads, 'contents' => $seen]));
            break;
        case '/pid':
            $worker->respond(200, (string) getmypid(), $text + ['X-Served' => [(string) $served]]);
            break;
        case '/big':
            $worker->respond(200, str_repeat('x', (int) $q['n']), $text);
            break;
        case '/status':
            $worker->respond((int) $q['n'], $q['body'] ?? '', $text);
            break;
        case '/headers':
            $worker->respond(200, 'body', json_decode($q['h'], true));
            break;
        case '/sendfile':
            if (!isset($q['stream'])) {
                $worker->respond((int) $q['n'], 'unseen', ['X-Sendfile' => [$q['f']]]);
                break;
            }
            while (!$worker->readable()) { // until the server says STOP
                $worker->chunk((int) $q['n'], 'unseen', ['X-Sendfile' => [$q['f']]]);
                usleep(1000);
            }
            $worker->read();
            $worker->frame('', '', 0, 0);
            break;
        case '/slow':
            usleep(1000 * (int) $q['ms']);
            $worker->respond(200, 'slow', $text);
            break;
        case '/gate':
            while (!file_exists($q['file'])) {
                usleep(1000);
            }
            $worker->respond(200, 'slow', $text);
            break;
        case '/stream':
            for ($i = 0; $i < (int) ($q['n'] ?? 3); $i++) {
                $worker->chunk(200, "part $i\n", $text);
                if (isset($q['gate'])) { // until the test saw the part
                    while (!file_exists($q['gate'] . $i)) {
                        usleep(1000);
                    }
                }
            }
            $worker->end("end\n");
            break;
        case '/ping':
            for ($i = 0; $i < 3; $i++) {
                $worker->chunk(200, "part $i\n", $text, 4);
                [, $bits] = $worker->read();
                if ($bits !== 8) {
                    $worker->error("PONG expected, got $bits");
                    continue 3;
                }
            }
            $worker->end('pong');
            break;
        case '/endless': // until the server says STOP
            for ($i = 0; !$worker->readable(isset($q['quiet']) ? 1000 : 0); $i++) {
                if (!isset($q['quiet']) || $i === 0) {
                    $worker->chunk((int) ($q['status'] ?? 200), str_repeat('.', 1000) . "\n", $text);
                }
            }
            [, $bits] = $worker->read();
            fwrite(STDERR, "stream ended by $bits\n");
            $worker->frame('', '', 0, 0);
            break;
        case '/deaf': // streams on whatever the server says
            while (true) {
                $worker->chunk(200, str_repeat('.', 1000), $text);
            }
        case '/stall':
            $worker->chunk(200, "first\n", $text);
            sleep(600);
            break;
        case '/hints':
            foreach ([100, 101, 102] as $status) {
                $worker->chunk($status, '', ["X-$status" => ['own']]);
            }
            $worker->chunk(103, '', ['Link' => ['</a.css>; rel=preload']]);
            $worker->respond(200, 'hinted', $text);
            break;
        case '/trailer':
            $worker->respond(200, 'with trailer', $text + ['Trailer' => ['X-Sum'], 'X-Sum' => ['42']]);
            break;
        case '/trailers-in-stream':
            $worker->chunk(200, 'a', $text + ['Trailer' => ['X-Sum'], 'X-Sum' => ['42']]);
            $worker->end('b');
            break;
        case '/length':
            $worker->respond(200, 'body', ['Content-Length' => ['9999'], 'Transfer-Encoding' => ['chunked']]);
            break;
        case '/exit':
            exit((int) ($q['code'] ?? 0));
        case '/exit-mid-stream':
            $worker->chunk(200, "part\n", $text);
            exit(3);
        case '/exit-mid-frame':
            $worker->raw(substr("\x14\x80\x05\x00\x00\x00\x8e\xa1\xbd\xaf\x00\x00\x03\x00\x00\x00\x08\xc8\x01hi", 0, 18));
            exit(3);
        case '/error':
            $worker->error('Exception: secret at /srv/app/index.php:3');
            break;
        case '/error-mid-stream':
            $worker->chunk(200, "part\n", $text);
            $worker->error('Exception: late');
            break;
        case '/stop': // the first time, on every worker
            if ($served === 1) {
                $worker->frame('{"stop":true}', '');
            } else {
                $worker->respond(200, 'served ' . $served, $text);
            }
            break;
        case '/twice': // the second answer comes when the worker may have been given the next request
            $worker->respond(200, 'first', $text);
            usleep((int) ($q['us'] ?? 0));
            $worker->respond(200, 'second', $text);
            break;
        case '/thrice': // what RoadRunner's quick start does after an exception, and a stream on top
            $worker->respond(500, 'for the client', $text);
            $worker->error('for the log');
            $worker->chunk(200, 'late part', $text);
            break;
        case '/answer-and-stop':
            $worker->respond(200, 'bye', $text);
            $worker->frame('{"stop":true}', '');
            if (isset($q['stay'])) {
                break;
            }
            exit(0);
        case '/answer-and-hang':
            $worker->respond(200, 'bye', $text);
            sleep(600);
            break;
        case '/answer-and-die':
            $worker->respond(200, 'bye', $text);
            exit(3);
        case '/orphan': // dies, and leaves a process of another group that holds its relay open
            $child = proc_open(['setsid', 'sleep', '600'], [STDIN, STDOUT, STDERR], $pipes);
            usleep(100000); // until it left the group
            file_put_contents($q['pid'], proc_get_status($child)['pid']);
            posix_kill(getmypid(), SIGKILL);
            break;
        case '/eat': // memory, for good
            $GLOBALS['eaten'][] = str_repeat('x', 1048576 * (int) $q['mb']);
            $worker->respond(200, (string) getmypid(), $text);
            break;
        case '/child': // a process in the worker's own group
            $GLOBALS['child'] = proc_open(['sleep', '600'], [], $pipes);
            $worker->respond(200, (string) proc_get_status($GLOBALS['child'])['pid'], $text);
            break;
        case '/always-stop':
            $worker->frame('{"stop":true}', '');
            break;
        case '/hang':
            sleep(600);
            break;
        case '/junk':
            echo "<br />\n<b>Warning</b>: something is wrong";
            break;
        case '/short-junk':
            echo "hi\n";
            sleep(600);
            break;
        case '/json':
            $worker->frame('{"status":200,"headers":{}}', 'json', 0, 0);
            break;
        case '/codec': // MessagePack
            $worker->frame("\x80", '', 0, 0x10);
            break;
        case '/long-context': // longer than the frame
            $worker->write('body', 0x80, [5]);
            break;
        case '/thrown': // how RoadRunner's packages end a stream whose generator throws
            $worker->chunk(200, "part\n", $text);
            $worker->frame('', '', 0, 0);
            break;
        case '/late-head': // the context comes with the second part
            $worker->frame('', 'early ', 1);
            $worker->chunk(404, 'late', $text);
            $worker->end();
            break;
        case '/garbage':
            $worker->frame(hex2bin($q['hex']), 'body');
            break;
        case '/no-option':
            $worker->write('body', 0x80);
            break;
        case '/stderr':
            fwrite(STDERR, $q['line'] . "\n");
            $worker->respond(200, 'logged');
            break;
        case '/flood':
            for ($i = 0; $i < 20000; $i++) {
                fwrite(STDERR, "line $i " . str_repeat('y', 80) . "\n");
            }
            fwrite(STDERR, str_repeat('long', 10000) . "\n");
            $worker->respond(200, 'flooded');
            break;
        case '/env':
            $worker->respond(200, json_encode(getenv()));
            break;
        case '/cwd':
            $worker->respond(200, getcwd() . ' ' . posix_geteuid());
            break;
        default:
            $worker->respond(404, 'no such test');
    }
}
