<?php

declare(strict_types=1);

// Every scenario by its path, for workers, which load them once. A scenario is a function of a function that reads the body.
$scenarios = [];
foreach (glob(__DIR__ . '/scenarios/*.php') as $file) {
    $scenarios['/' . basename($file, '.php')] = require $file;
}

return $scenarios;
