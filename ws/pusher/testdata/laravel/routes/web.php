<?php

use App\Events\Moved;
use Illuminate\Support\Facades\Route;

Route::get('/move', static function () {
    broadcast(new Moved((int) request('x')))->toOthers();

    return 'moved';
});
