<?php
// The application of the chaos tests: healthy requests beside those that take the worker down, each in its own way. $argv[1]
// says who speaks to the server: sdk is sdk/php, rr is a loop by hand that speaks RoadRunner's protocol.

$journal = fopen(getenv('CHAOS_JOURNAL'), 'ab');
$pipe = fopen('php://fd/1', 'w'); // to the server: sdk/php takes it away from STDOUT
$deaf = false;

/** @return string|iterable<string> */
$app = static function (string $path, array $q, string $body) use ($journal, $pipe, &$deaf): string|iterable {
    fwrite($journal, "$path {$q['token']}\n"); // one write, in order to see what ran, and how often
    switch ($path) {
        case '/ok':
            usleep((int) ($q['us'] ?? 0));
            return $q['token'];
        case '/echo':
            return $q['token'] . ' ' . md5($body);
        case '/stream':
            return (static function () use ($q) {
                for ($i = 0; $i < 20; $i++) {
                    yield "{$q['token']} $i\n";
                }
            })();
        case '/segfault':
            posix_kill(getmypid(), SIGSEGV);
            sleep(600);
        case '/killed':
            posix_kill(getmypid(), SIGKILL);
            sleep(600);
        case '/exit':
            exit(3);
        case '/hang':
            sleep(600);
        case '/mid-frame':
            fwrite($pipe, substr("\x14\x80\x05\x00\x00\x00\x8e\xa1\xbd\xaf\x00\x00\x03\x00\x00\x00\x08\xc8\x01hi", 0, 18));
            posix_kill(getmypid(), SIGKILL);
            sleep(600);
        case '/garbage':
            fwrite($pipe, "<br />\n<b>Warning</b>: something is wrong in index.php on line 3");
            sleep(600);
        case '/memory':
            $eaten = str_repeat('x', 32 << 20);
            return $eaten . str_repeat('x', 1 << 30); // beyond memory_limit, which PHP does not survive
        case '/exit-mid-stream':
            return (static function () {
                yield "first\n";
                posix_kill(getmypid(), SIGKILL);
                sleep(600);
            })();
        case '/grow': // beyond max_memory, within memory_limit
            $GLOBALS['kept'] ??= str_repeat('x', 48 << 20);
            return $q['token'];
        case '/deaf': // answers, and from then on ends for nobody
            pcntl_signal(SIGTERM, SIG_IGN);
            pcntl_signal(SIGINT, SIG_IGN);
            $deaf = true;
            return $q['token'];
    }
    throw new LogicException("no such path: $path");
};

if ($argv[1] === 'sdk') {
    require __DIR__ . '/../../sdk/php/autoload.php';
    (new Edge\Http\Worker())->serve(static fn (Edge\Http\Request $r) => new Edge\Http\Response(200, [], $app($r->path, $r->query, $r->body)));
    while ($deaf) {
        sleep(600);
    }
    exit;
}

require __DIR__ . '/lib.php';
$worker = new Worker();
while (true) {
    $r = $worker->next();
    if ($r === null) {
        while ($deaf) {
            sleep(600);
        }
        break;
    }
    parse_str($r->rawQuery, $q);
    $answer = $app(parse_url($r->uri, PHP_URL_PATH), $q, $r->body);
    if (is_string($answer)) {
        $worker->respond(200, $answer);
        continue;
    }
    foreach ($answer as $piece) {
        $worker->chunk(200, $piece);
    }
    $worker->end();
}
