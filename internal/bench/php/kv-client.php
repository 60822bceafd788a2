<?php

declare(strict_types=1);

// One PHP client of a key-value store: reads keys of 256 bytes for some seconds, one or fifty at a time, and prints a line of JSON.
require __DIR__ . '/../../../sdk/php/autoload.php';

[, $kind, $address, $batch, $seconds] = $argv;
$value = str_repeat('v', 256);
$keys = [];
for ($i = 0; $i < 50; ++$i) {
    $keys[] = "cart:$i";
}
if ($kind === 'edge') {
    $store = new Edge\KV('main', new Edge\RPC("unix://$address"));
    $set = static fn (string $key) => $store->set($key, $value);
    $many = static fn () => $store->getMultiple($keys);
} else {
    $store = new Redis();
    $store->connect($address);
    $set = static fn (string $key) => $store->set($key, $value);
    $many = static fn () => $store->mGet($keys);
}
array_map($set, $keys);
if ($store->get('cart:7') !== $value || array_values($many()) !== array_fill(0, 50, $value)) {
    fwrite(STDERR, "$kind: what comes out is not what went in\n");
    exit(1);
}

$cpu = static function (): float {
    $u = getrusage();

    return $u['ru_utime.tv_sec'] + $u['ru_stime.tv_sec'] + ($u['ru_utime.tv_usec'] + $u['ru_stime.tv_usec']) / 1e6;
};
$calls = 0;
$used = $cpu();
$begin = hrtime(true);
$end = $begin + (int) ($seconds * 1e9);
if ($batch === '1') {
    do {
        for ($i = 0; $i < 100; ++$i) {
            $store->get('cart:7');
        }
        $calls += 100;
    } while (hrtime(true) < $end);
} else {
    do {
        $many();
        ++$calls;
    } while (hrtime(true) < $end);
}
$took = (hrtime(true) - $begin) / 1e9;
echo json_encode(['keys' => $calls * (int) $batch, 'seconds' => $took, 'cpu' => $cpu() - $used]), "\n";
