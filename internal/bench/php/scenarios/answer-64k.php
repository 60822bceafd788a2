<?php

declare(strict_types=1);

// 64 KiB, made of a short text as fast as PHP can.
return static fn (callable $body): array => ['text/plain; charset=utf-8', str_repeat("0123456789abcde\n", 4096)];
