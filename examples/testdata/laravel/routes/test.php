<?php

use Illuminate\Http\Request;
use Illuminate\Pagination\LengthAwarePaginator;
use Illuminate\Support\Facades\App;
use Illuminate\Support\Facades\Route;

// What only the tests ask for.
Route::get('/after', static function (Request $request) {
    $go = $request->query('go');
    App::terminating(static function () use ($go): void {
        for ($deadline = time() + 20; !is_file($go) && time() < $deadline; clearstatcache()) {
            usleep(5000);
        }
        file_put_contents("$go.done", is_file($go) ? 'went on' : 'waited in vain');
    });

    return 'answered';
});
Route::get('/die', static fn () => exit(3));
Route::get('/memory', static function () {
    gc_collect_cycles();

    return ['bytes' => memory_get_usage(), 'pid' => getmypid()];
});
Route::get('/page', static fn () => (new LengthAwarePaginator(['a'], 30, 10)));
Route::get('/transaction', static function () {
    $db = app('db')->connection();
    $level = $db->transactionLevel();
    $db->beginTransaction();

    return ['level' => $level];
});
