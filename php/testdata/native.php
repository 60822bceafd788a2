<?php

declare(strict_types=1);

// Compares requests in both encodings: the standard input has records of three texts, native context, http.v1.Request and body, each
// behind its length (32 bits, little-endian). The output names the first difference of every record. Cookies are not compared: natively
// they follow PHP's rules, in protobuf RoadRunner's.

use Edge\Http\Request;
use Edge\Worker;
use Edge\Relay;

require __DIR__ . '/../../sdk/php/autoload.php';

function text(): ?string
{
    $head = fread(STDIN, 4);
    if ($head === '' || $head === false) {
        return null;
    }
    $size = unpack('V', $head)[1];
    $text = $size === 0 ? '' : stream_get_contents(STDIN, $size);

    return strlen($text) === $size ? $text : throw new RuntimeException('the input is cut off');
}

$task = new Worker(new Relay(fopen('php://memory', 'r'), fopen('php://memory', 'w')));
$n = 0;
while (($native = text()) !== null) {
    [$task->context, $task->body, $task->native] = [$native, '', true];
    $proto = text();
    $body = text();
    $task->body = $body;
    $a = Request::ofTask($task);
    $b = Request::fromMessage($proto, $body);
    $names = ['bodyFile', 'method', 'uri', 'path', 'queryString', 'host', 'protocol', 'remoteAddr', 'query', 'headers', 'form', 'files', 'attributes'];
    foreach ($names as $name) {
        [$x, $y] = [$a->$name, $b->$name];
        if ($name === 'headers' || $name === 'attributes') {
            unset($y['edge.body_file']); // an attribute only there
            ksort($x, SORT_STRING); // Go's maps have no order
            ksort($y, SORT_STRING);
        }
        if ($x != $y || serialize($x) !== serialize($y)) {
            printf("record %d: %s is %s natively and %s in protobuf\n", $n, $name, json_encode($x, JSON_INVALID_UTF8_SUBSTITUTE), json_encode($y, JSON_INVALID_UTF8_SUBSTITUTE));
            break;
        }
    }
    if ($a->bodyFile === null && $a->body !== $b->body) {
        echo "record $n: the bodies differ\n";
    }
    ++$n;
}
echo "$n records\n";
