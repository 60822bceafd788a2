<?php

declare(strict_types=1);

// The smallest answer there is: what is left is the way to PHP and back.
return static fn (callable $body): array => ['text/plain; charset=utf-8', "Hello, World!\n"];
