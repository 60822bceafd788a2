<?php

declare(strict_types=1);

use Edge\KV;

require __DIR__ . '/../../autoload.php';

$kv = new KV('main');
echo $kv->remember('shared', static function () use ($kv): string {
    $kv->increment('computations');
    usleep(100_000); // the others ask meanwhile

    return 'computed';
}, 60);
