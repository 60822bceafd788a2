<?php

declare(strict_types=1);

// What this package costs, in microseconds: php -d opcache.enable_cli=1 tests/bench.php
// With EDGE_RPC set, calls and a storage "main" are measured too.

use Edge\Frame;
use Edge\Http\Message;
use Edge\Http\Request;
use Edge\KV;
use Edge\RPC;
use Edge\Tests\Pack;

require __DIR__ . '/bootstrap.php';

function measure(string $what, int $rounds, callable $step): void
{
    $best = INF;
    for ($i = 0; $i < 5; $i++) {
        $start = hrtime(true);
        $step($rounds);
        $best = min($best, (hrtime(true) - $start) / 1e3 / $rounds);
    }
    printf("%-60s %8.2f µs\n", $what, $best);
}

$small = Pack::request('GET', 'http://localhost:8080/');
$browser = Pack::request('GET', 'http://localhost:8080/products/42?color=red&size=l', [
    'Accept' => 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
    'Accept-Encoding' => 'gzip, deflate, br, zstd',
    'Accept-Language' => 'de-DE,de;q=0.9,en;q=0.8',
    'Connection' => 'keep-alive',
    'Cookie' => 'PHPSESSID=abcdefghijklmnopqrst; theme=dark; consent=yes',
    'Sec-Fetch-Mode' => 'navigate',
    'Upgrade-Insecure-Requests' => '1',
    'User-Agent' => 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
], ['PHPSESSID' => 'abcdefghijklmnopqrst', 'theme' => 'dark', 'consent' => 'yes'], 'color=red&size=l');

foreach (['small' => $small, 'browser' => $browser] as $name => $context) {
    measure("$name request, nothing read", 100000, function (int $n) use ($context): void {
        while ($n-- > 0) {
            Request::fromMessage($context, '');
        }
    });
    measure("$name request, method and path", 50000, function (int $n) use ($context): void {
        while ($n-- > 0) {
            $r = Request::fromMessage($context, '');
            [$r->method, $r->path];
        }
    });
    measure("$name request, decode of fields and headers", 50000, function (int $n) use ($context): void {
        while ($n-- > 0) {
            [Message::request($context), Message::map($context, Message::HEADERS)];
        }
    });
    measure("$name request, everything through the object", 50000, function (int $n) use ($context): void {
        while ($n-- > 0) {
            $r = Request::fromMessage($context, '');
            [$r->method, $r->path, $r->headers, $r->cookies, $r->query, $r->body];
        }
    });
}
measure('response with two headers, encode', 100000, function (int $n): void {
    while ($n-- > 0) {
        Message::response(200, ['Content-Type' => 'text/html; charset=utf-8', 'Cache-Control' => 'no-store']);
    }
});
$context = Message::response(200, ['Content-Type' => 'text/html; charset=utf-8']);
measure('response frame', 100000, function (int $n) use ($context): void {
    while ($n-- > 0) {
        Frame::payload(Frame::PROTO, 0, $context, 'Hello, world');
    }
});

if (getenv('EDGE_RPC')) {
    $rpc = new RPC();
    measure('rpc.Version over JSON', 5000, function (int $n) use ($rpc): void {
        while ($n-- > 0) {
            $rpc->call('rpc.Version', true);
        }
    });
    $kv = new KV('main', $rpc);
    $kv->set('key', str_repeat('x', 256), 3600);
    measure('get of 256 bytes', 5000, function (int $n) use ($kv): void {
        while ($n-- > 0) {
            $kv->get('key');
        }
    });
    $keys = array_map(fn (int $i): string => "key$i", range(1, 50));
    $kv->setMultiple(array_fill_keys($keys, str_repeat('x', 256)));
    measure('get of 50 keys in one call', 1000, function (int $n) use ($kv, $keys): void {
        while ($n-- > 0) {
            $kv->getMultiple($keys);
        }
    });
    $before = memory_get_usage();
    for ($i = 0; $i < 10000; $i++) {
        $kv->get('key');
    }
    printf("memory kept by 10,000 gets: %d bytes\n", memory_get_usage() - $before);
}
