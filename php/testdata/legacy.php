<?php
// A worker as spiral/roadrunner-http up to 3.4 makes them: the context is JSON, the codec of an answer is empty, and only the first
// part of a stream has a context. What it cannot read is answered 400 before the application runs.
require __DIR__ . '/lib.php';

$worker = new Worker();
$codec = (int) getenv('ANSWER_CODEC'); // 8 is what releases from 3.5 on set

while (($payload = $worker->payload()) !== null) {
    [$context, $body] = $payload;
    $head = static fn (int $status, array $headers = []) => json_encode(['status' => $status, 'headers' => $headers ?: new stdClass()]);
    try {
        $r = json_decode($context, true, 512, JSON_THROW_ON_ERROR);
    } catch (JsonException $e) {
        $worker->frame($head(400), 'not JSON: ' . $e->getMessage(), 0, $codec);
        continue;
    }
    switch (parse_url($r['uri'], PHP_URL_PATH)) {
        case '/echo':
            $answer = ['context' => $r, 'body' => $body, 'form' => $r['parsed'] ? json_decode($body, true, 512, JSON_THROW_ON_ERROR) : null];
            $worker->frame($head(200, ['Content-Type' => ['application/json'], 'Set-Cookie' => ['a=1/2', 'b="ü"']]), json_encode($answer), 0, $codec);
            break;
        case '/stream':
            $worker->frame($head(200, ['Content-Type' => ['text/plain']]), "one\n", 1, $codec);
            $worker->frame('', "two\n", 1, $codec);
            $worker->frame('', "end\n", 0, $codec);
            break;
        case '/raw': // an answer given as it is
            parse_str($r['rawQuery'], $q);
            $worker->frame($q['head'], 'body', 0, $codec);
            break;
    }
}
